"""How the page looks, in wide windows and on a telephone."""

STYLE = """
footer {display: none !important}
#picture img {width: 100%; max-height: 50vh; object-fit: contain}
#conversation {max-height: 20em; overflow-y: auto; display: flex; flex-direction: column-reverse}  /* stays at its end */
#conversation p {margin: 0.4em 0; overflow-wrap: anywhere; white-space: pre-wrap}
#conversation .question {font-weight: 600}
#canvas {position: relative; gap: 0}
#regions {position: absolute; inset: 0; padding: 0; pointer-events: none; overflow: visible; background: none; border: none}
#regions * {height: 100%; max-height: none; padding: 0; margin: 0; overflow: visible}
#regions svg {position: absolute; inset: 0; width: 100%; height: 100%; padding: 1px}
#regions .region {pointer-events: all; cursor: help; outline: none}
#regions path {fill: transparent; stroke: none}
#regions text {visibility: hidden; fill: white; stroke: black; stroke-width: 0.2em; paint-order: stroke; font-weight: 600}
#regions .region:hover path, #regions .region:focus path {
    stroke: var(--color); stroke-width: 3px; vector-effect: non-scaling-stroke
}
#regions .region:hover text, #regions .region:focus text {visibility: visible}
:focus-visible {outline: 2px solid var(--color-accent); outline-offset: 1px}
@media (max-width: 640px) {
    .gradio-container {padding: 0.5em !important}
    #conversation {max-height: 12em}
    button.lg, button.sm {min-width: 0 !important; min-height: 44px; padding: 0.25em; font-size: 0.9rem}  /* a finger's width */
}
#conversation mark {border-radius: 0.25em; padding: 0.05em 0.3em; box-decoration-break: clone}
"""
