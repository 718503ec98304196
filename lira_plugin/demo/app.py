"""The page itself: gradio's components and what they do."""

import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from textwrap import shorten
from typing import Any

import gradio as gr
from gradio_client.utils import is_http_url_like
from starlette.middleware import Middleware

from lira_plugin.demo.chat import Chat, read_image
from lira_plugin.demo.own_origin import OwnOriginOnly
from lira_plugin.inference import LIRAInferencer
from lira_plugin.models.generation import Progress
from lira_plugin.structures import GroundedText, MaskStage

_STYLE = """
footer {display: none !important}
#picture img {width: 100%; max-height: 50vh; object-fit: contain}
#conversation {max-height: 20em; overflow-y: auto; display: flex; flex-direction: column-reverse}  /* stays at its end */
#conversation p {margin: 0.4em 0; overflow-wrap: anywhere; white-space: pre-wrap}
#conversation .question {font-weight: 600}
#conversation mark {border-radius: 0.25em; padding: 0.05em 0.3em; box-decoration-break: clone}
"""
_HOURS = 3600
_TITLE = 56
"""Characters of a question that stand for its answer where one is chosen."""


class Demo:
    """What happens when a visitor does something. The methods get and give the values of the page's components.

    Args:
        lira: the model.
        folder: files for download are made here.
        max_pixels: of an image.
    """

    def __init__(self, lira: LIRAInferencer, folder: Path, max_pixels: int) -> None:
        self.lira, self.folder, self.max_pixels = lira, folder, max_pixels
        self._model = threading.Lock()  # an answer that was cancelled may still be at its last token

    def open(self, path: str | None) -> list[Any]:
        """Begin a chat about an image: chat, conversation, picture, choice of answers."""
        if path is None:
            return [None, "", None, _choice_of_answers(None)]
        try:
            chat = Chat(Path(path).name, read_image(path, self.max_pixels))
        except ValueError as error:
            raise gr.Error(str(error)) from error
        return [chat, "", chat.picture(), _choice_of_answers(chat)]

    def ask(
        self, question: str, chat: Chat | None, ilvc: bool, stage: MaskStage, threshold: float
    ) -> Iterator[list[Any]]:
        """Answer, piece by piece: chat, conversation, picture, choice of answers, question, stop button."""
        question = question.strip()
        if chat is None or not question:
            raise gr.Error("Upload an image first." if chat is None else "Write a question first.")
        now = chat.with_turn(question, GroundedText("", finished=False))
        yield [now, now.to_html(), now.picture(), _choice_of_answers(now), "", gr.update(interactive=True)]
        drawn: list[bool] = []  # whether each of the masks on the picture is refined
        try:
            for progress in self._stream(chat, question, ilvc):
                now = chat.with_turn(question, progress.answer)
                masks = [span.refined for span in progress.answer.spans]
                picture = gr.skip() if masks == drawn else now.picture(stage=stage, threshold=threshold)
                drawn = masks
                yield [now, now.to_html(), picture, gr.skip(), gr.skip(), gr.skip()]
        except ValueError as error:  # the chat is as before, and the question still there to be changed
            picture = chat.picture(stage=stage, threshold=threshold)
            yield [chat, chat.to_html(), picture, _choice_of_answers(chat), question, gr.skip()]
            raise gr.Error(str(error)) from error

    def draw(self, chat: Chat | None, turn: int | None, stage: MaskStage, threshold: float) -> Any:
        """The picture, after something about the masks has been chosen."""
        if chat is None:
            return None
        return chat.picture(-1 if turn is None or turn >= len(chat.turns) else turn, stage, threshold)

    def save_zip(self, chat: Chat | None, stage: MaskStage, threshold: float) -> Any:
        """The masks of a chat as PNG files: the file to download."""
        return self._save("masks.zip", _needed(chat).mask_zip(stage, threshold))

    def save_json(self, chat: Chat | None, threshold: float) -> Any:
        """The answers of a chat with their masks as RLE: the file to download."""
        return self._save("answers.json", _needed(chat).mask_json(threshold))

    def _stream(self, chat: Chat, question: str, ilvc: bool) -> Iterator[Progress]:
        news = self.lira.stream(chat.image, question, chat.history, ilvc=ilvc, return_logits=True)
        done = False
        while not done:
            with self._model:
                progress = next(news)
            yield progress
            done = progress.done

    def _save(self, name: str, content: bytes) -> Any:
        path = Path(mkdtemp(dir=self.folder)) / name
        path.write_bytes(content)
        return gr.update(value=str(path), visible=True)


def build(demo: Demo, threshold: float = 0.5, ilvc: bool = True) -> gr.Blocks:
    """Lay the page out.

    Args:
        demo: what its components do.
        threshold: where the slider stands first.
        ilvc: whether the model may look at regions, first.
    """
    sans, mono = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]  # none is loaded
    with gr.Blocks(
        title="LIRA",
        theme=gr.themes.Default(font=sans, font_mono=mono),
        css=_STYLE,
        fill_width=True,
        analytics_enabled=False,
        delete_cache=(_HOURS, 2 * _HOURS),
    ) as page:
        chat = gr.State(time_to_live=2 * _HOURS)
        with gr.Row():
            with gr.Column():
                image = gr.Image(
                    label="Image", type="filepath", image_mode=None, sources=["upload", "clipboard"], height=260,
                    elem_id="image",
                )  # fmt: skip
                image.preprocess = _path_of  # gradio 5 would open the file before its size in pixels is known
                conversation = gr.HTML(label="Conversation", elem_id="conversation", show_label=False)
                question = gr.Textbox(
                    label="Question", placeholder="Please segment the red circle.", max_length=1000, elem_id="question"
                )
                look = gr.Checkbox(ilvc, label="Look at regions while answering (ILVC)", elem_id="ilvc")
                with gr.Row():
                    ask = gr.Button("Ask", variant="primary", elem_id="ask")
                    stop = gr.Button("Stop", interactive=False, elem_id="stop")
                    forget = gr.Button("New chat", elem_id="new-chat")
            with gr.Column():
                picture = gr.Image(
                    label="Masks", interactive=False, format="png", elem_id="picture", show_download_button=False
                )
                shown = gr.Dropdown([], label="Answer", elem_id="shown")
                stage = gr.Radio(["refined", "coarse"], value="refined", label="Kind of masks", elem_id="view")
                level = gr.Slider(0.01, 0.99, threshold, step=0.01, label="Threshold", elem_id="threshold")
                with gr.Row():
                    save_zip = gr.Button("Masks as PNG (zip)", elem_id="save-zip")
                    save_json = gr.Button("Masks as COCO RLE (JSON)", elem_id="save-json")
                file = gr.File(label="Download", interactive=False, visible=False, elem_id="file")
        outputs, how = [chat, conversation, picture, shown], [chat, shown, stage, level]
        private = {"api_name": False, "show_progress": "hidden"}
        one_at_a_time = {"concurrency_id": "model", "concurrency_limit": 1}
        opened = image.change(demo.open, image, outputs, **private)
        asked = gr.on(
            [question.submit, ask.click],
            demo.ask,
            [question, chat, look, stage, level],
            [*outputs, question, stop],
            trigger_mode="once",
            **one_at_a_time,
            **private,
        )
        asked.then(_stopped, None, stop, **private)
        renewed = forget.click(demo.open, image, outputs, cancels=[asked], **private)
        for event in (stop.click, forget.click, image.input):
            event(_stopped, None, stop, cancels=[asked], **private)
        redrawn = [event(demo.draw, how, picture, **private) for event in (shown.input, stage.input, level.release)]
        redrawn.append(asked.then(demo.draw, how, picture, **private))  # something may have been chosen meanwhile
        save_zip.click(demo.save_zip, [chat, stage, level], file, **private)
        save_json.click(demo.save_json, [chat, level], file, **private)
        for event in (opened, renewed, *redrawn):  # the file is of other masks now
            event.then(lambda: gr.update(value=None, visible=False), None, file, **private)
    for block in page.blocks.values():  # a request may name a file for any input
        block.async_move_resource_to_block_cache = partial(_uploads_only, block.async_move_resource_to_block_cache)
    return page.queue(max_size=32, api_open=False)


def launch(page: gr.Blocks, host: str, port: int, max_bytes: int, **options: Any) -> str:
    """Serve the page in the background: own files only, loading nothing from elsewhere; return its address.

    Args:
        page: of :func:`build`.
        host: address to listen at.
        port: port to listen at.
        max_bytes: of an upload.
        options: further ones of gradio's ``launch``.

    Raises:
        OSError: the port is taken.
    """
    _, address, _ = page.launch(
        server_name=host, server_port=port, share=False, inbrowser=False, show_api=False, ssr_mode=False, pwa=False,
        mcp_server=False, enable_monitoring=False, allowed_paths=[], max_file_size=max_bytes, state_session_capacity=32,
        app_kwargs={"middleware": [Middleware(OwnOriginOnly)], "docs_url": None, "redoc_url": None, "openapi_url": None},
        prevent_thread_lock=True, quiet=True, **options,
    )  # fmt: skip
    return address


async def _uploads_only(move: Callable[[Any], Awaitable[str | None]], path: Any) -> str | None:
    """Refuse an address instead of an upload: gradio 5 would download it, whatever its size."""
    if is_http_url_like(str(path)):
        raise gr.Error("Upload the image; the demo fetches none.")
    return await move(path)


def _choice_of_answers(chat: Chat | None) -> Any:
    """The answers whose masks can be shown; the last one is."""
    turns = () if chat is None else chat.turns
    titles = (shorten(question, _TITLE, placeholder=" …") for question, _ in turns)
    choices = [(f"{index + 1}: {title}", index) for index, title in enumerate(titles)]
    return gr.update(choices=choices, value=len(turns) - 1 if turns else None)


def _path_of(upload: gr.data_classes.FileData | None) -> str | None:
    """The file of an upload, which gradio has found to be in its folder."""
    return None if upload is None else upload.path


def _stopped() -> Any:
    """The stop button, when nothing is left to stop."""
    return gr.update(interactive=False)


def _needed(chat: Chat | None) -> Chat:
    if chat is None or not any(answer.spans for _, answer in chat.turns):
        raise gr.Error("There are no masks yet.")
    return chat
