"""The page itself: gradio's components and what they do."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from textwrap import shorten
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from gradio_client.utils import is_file_obj_with_meta, is_http_url_like, traverse
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware

from lira_plugin.demo.chat import Chat, Example
from lira_plugin.demo.input_values import ADDRESS_REFUSED, checked_value
from lira_plugin.demo.known_routes import KnownRoutesOnly
from lira_plugin.demo.own_origin import OwnOriginOnly
from lira_plugin.demo.page_style import STYLE
from lira_plugin.demo.visitor_files import VisitorFiles
from lira_plugin.demo.visitors import OwnThingsOnly, visitor_of
from lira_plugin.inference import LIRAInferencer
from lira_plugin.models.generation import Progress
from lira_plugin.structures import GroundedText, MaskStage
from lira_plugin.web.known_hosts import KnownHosts, KnownHostsOnly
from lira_plugin.web.received_image import read_received

_HOURS = 3600
_MAX_CHATS = 32
_MAX_QUESTION = 1000
"""Characters."""
_MAX_REMEMBERED = 10_000
"""Sessions of which it is known that they had a chat."""
_TIDY_EVERY = 10
"""Seconds between two looks at what can be removed."""
_TITLE = 56
"""Characters of a question that stand for its answer where one is chosen."""


class Demo:
    """What happens when a visitor does something. The methods get and give the values of the page's components.

    Args:
        lira: the model.
        folder: files for download are made here.
        max_pixels: of an image.
        examples: images that visitors without one of their own can ask about.
    """

    def __init__(self, lira: LIRAInferencer, folder: Path, max_pixels: int, examples: Sequence[Example] = ()) -> None:
        self.lira, self.folder, self.max_pixels, self.examples = lira, folder, max_pixels, tuple(examples)
        self._model = threading.Lock()  # an answer that was cancelled may still be at its last token
        self._had_chat: OrderedDict[str, None] = OrderedDict()  # sessions

    def open(self, path: str | None, request: gr.Request | None = None) -> list[Any]:
        """Begin a chat about an image: chat, conversation, picture, choice of answers."""
        session = None if request is None else request.session_hash
        self._had_chat.pop(session, None)
        if path is None:
            return [None, "", None, _choice_of_answers(None)]
        try:
            chat = Chat(Path(path).name, read_received(path, self.max_pixels, "demo"))
        except ValueError as error:
            raise gr.Error(str(error)) from error
        if session is not None:
            self._had_chat[session] = None
            if len(self._had_chat) > _MAX_REMEMBERED:
                self._had_chat.popitem(last=False)
        return [chat, "", chat.picture(), _choice_of_answers(chat)]

    def open_example(self, index: int, request: gr.Request | None = None) -> list[Any]:
        """Begin a chat about an image of the demo's own: chat, conversation, picture, choice of answers, question."""
        example = self.examples[index]
        if request is not None:
            self._had_chat[request.session_hash] = None
        chat = Chat(example.name, example.image)
        return [chat, "", chat.picture(), _choice_of_answers(chat), example.question]

    def renew(self, path: str | None, chat: Chat | None, request: gr.Request | None = None) -> list[Any]:
        """Begin again about the same image, as :meth:`open`."""
        if chat is None:
            return self.open(path, request)
        chat = Chat(chat.name, chat.image)
        return [chat, "", chat.picture(), _choice_of_answers(chat)]

    def ask(
        self,
        question: str,
        chat: Chat | None,
        ilvc: bool,
        stage: MaskStage,
        threshold: float,
        request: gr.Request | None = None,
    ) -> Iterator[list[Any]]:
        """Answer, piece by piece: chat, conversation, picture, choice of answers, question, stop button."""
        question = question.strip()
        self._check_kept(chat, request)
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

    def draw(
        self,
        chat: Chat | None,
        turn: int | None,
        stage: MaskStage,
        threshold: float,
        request: gr.Request | None = None,
    ) -> Any:
        """The picture, after something about the masks has been chosen."""
        self._check_kept(chat, request)
        if chat is None:
            return None
        return chat.picture(_turn(chat, turn), stage, threshold)

    def outline(self, chat: Chat | None, turn: int | None, stage: MaskStage, threshold: float) -> str:
        """What lies over the picture: outlines that say phrase and score."""
        if chat is None:
            return ""
        return chat.regions(_turn(chat, turn), stage, threshold)

    def save_zip(self, chat: Chat | None, stage: MaskStage, threshold: float, request: gr.Request | None = None) -> Any:
        """The masks of a chat as PNG files: the file to download."""
        self._check_kept(chat, request)
        return self._save("masks.zip", _needed(chat).mask_zip(stage, threshold))

    def save_json(self, chat: Chat | None, threshold: float, request: gr.Request | None = None) -> Any:
        """The answers of a chat with their masks as RLE: the file to download."""
        self._check_kept(chat, request)
        return self._save("answers.json", _needed(chat).mask_json(threshold))

    def save_coco(
        self, chat: Chat | None, stage: MaskStage, threshold: float, request: gr.Request | None = None
    ) -> Any:
        """The masks of a chat as a COCO file: the file to download."""
        self._check_kept(chat, request)
        return self._save("coco.json", _needed(chat).coco_json(stage, threshold))

    def save_picture(
        self, chat: Chat | None, turn: int | None, stage: MaskStage, threshold: float, request: gr.Request | None = None
    ) -> Any:
        """The picture with its masks as PNG: the file to download."""
        self._check_kept(chat, request)
        return self._save("picture.png", _needed(chat).picture_png(_turn(chat, turn), stage, threshold))

    def _check_kept(self, chat: Chat | None, request: gr.Request | None) -> None:
        """Say so where a visitor has had a chat that the server has given up since."""
        if chat is None and request is not None and request.session_hash in self._had_chat:
            raise gr.Error(
                "Your chat is gone: the demo keeps a few at a time, for two hours at most, and others came since. "
                "Upload the image again."
            )

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


class Page(gr.Blocks):
    """The page. What an event brings is checked here, on whichever route it came.

    Needs ``files``, those of its visitors.
    """

    files: VisitorFiles
    _visitor: ContextVar[str] = ContextVar("visitor")

    async def process_api(self, block_fn: Any, inputs: Any, *args: Any, **options: Any) -> dict[str, Any]:
        """Check the values of the inputs, then do as gradio does.

        Raises:
            gradio.Error: an input has no such value.
        """
        request = options.get("request")
        visitor = visitor_of("" if request is None else request.request.headers.get("cookie", ""))
        if options.get("iterator") is None:  # else the function runs already, and has its inputs
            function = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
            find = partial(self.files.find, visitor=visitor)
            inputs = [checked_value(block, value, find) for block, value in zip(function.inputs, inputs, strict=True)]
        self._visitor.set(visitor)
        return await super().process_api(block_fn, inputs, *args, **options)

    @asynccontextmanager
    async def kept_tidy(self, _: Any) -> AsyncIterator[None]:
        """Remove old files of visitors for as long as the server runs."""

        async def tidy() -> None:
            while True:
                await run_in_threadpool(self.files.tidy)
                await asyncio.sleep(_TIDY_EVERY)

        task = asyncio.create_task(tidy())
        yield
        task.cancel()

    async def postprocess_data(self, *args: Any, **options: Any) -> list[Any]:
        """Do as gradio does, and note whose the files of the answer are."""
        values = await super().postprocess_data(*args, **options)
        visitor = self._visitor.get()
        traverse(values, lambda file: self.files.add_made(visitor, file["path"]), is_file_obj_with_meta)
        return values


def build(demo: Demo, threshold: float = 0.5, ilvc: bool = True) -> gr.Blocks:
    """Lay the page out.

    Args:
        demo: what its components do.
        threshold: where the slider stands first.
        ilvc: whether the model may look at regions, first.
    """
    sans, mono = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]  # none is loaded
    with Page(
        title="LIRA",
        theme=gr.themes.Default(font=sans, font_mono=mono),
        css=STYLE,
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
                with gr.Row(visible=bool(demo.examples), elem_id="examples"):
                    tries = [gr.Button(f"Example: {example.name}", size="sm") for example in demo.examples]
                conversation = gr.HTML(label="Conversation", elem_id="conversation", show_label=False)
                question = gr.Textbox(
                    label="Question",
                    placeholder="Please segment the red circle.",
                    max_length=_MAX_QUESTION,
                    elem_id="question",
                )
                look = gr.Checkbox(ilvc, label="Look at regions while answering (ILVC)", elem_id="ilvc")
                with gr.Row():
                    ask = gr.Button("Ask", variant="primary", elem_id="ask")
                    stop = gr.Button("Stop", interactive=False, elem_id="stop")
                    forget = gr.Button("New chat", elem_id="new-chat")
            with gr.Column():
                with gr.Column(elem_id="canvas", min_width=0):
                    picture = gr.Image(
                        label="Masks", interactive=False, format="png", elem_id="picture", show_download_button=False
                    )
                    regions = gr.HTML(elem_id="regions", show_label=False, container=False)
                shown = gr.Dropdown([], label="Answer", elem_id="shown")
                stage = gr.Radio(["refined", "coarse"], value="refined", label="Kind of masks", elem_id="view")
                level = gr.Slider(0.01, 0.99, threshold, step=0.01, label="Threshold", elem_id="threshold")
                with gr.Row():
                    save_zip = gr.Button("Masks as PNG (zip)", elem_id="save-zip")
                    save_json = gr.Button("Answers with masks (JSON)", elem_id="save-json")
                with gr.Row():
                    save_picture = gr.Button("Picture (PNG)", elem_id="save-picture")
                    save_coco = gr.Button("COCO file (JSON)", elem_id="save-coco")
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
        renewed = forget.click(demo.renew, [image, chat], outputs, cancels=[asked], **private)
        shown_examples = [
            button.click(partial(demo.open_example, index), None, [*outputs, question], cancels=[asked], **private)
            for index, button in enumerate(tries)
        ]
        for event in (stop.click, forget.click, image.input):
            event(_stopped, None, stop, cancels=[asked], **private)
        redrawn = [event(demo.draw, how, picture, **private) for event in (shown.input, stage.input, level.release)]
        answered = asked.then(demo.draw, how, picture, **private)  # something may have been chosen meanwhile
        save_zip.click(demo.save_zip, [chat, stage, level], file, **private)
        save_json.click(demo.save_json, [chat, level], file, **private)
        save_coco.click(demo.save_coco, [chat, stage, level], file, **private)
        save_picture.click(demo.save_picture, how, file, **private)
        picture.change(demo.outline, how, regions, **private)
        for event in (opened, renewed, *shown_examples, *redrawn, answered):  # the file is of other masks now
            hidden = event.then(lambda: gr.update(value=None, visible=False), None, file, **private)
            if event is answered:  # last, or a file that is asked for at once would be hidden
                hidden.then(_stopped, None, stop, **private)
    page.files = VisitorFiles(Path(get_upload_folder()) / "uploads")
    # gradio 5 would open the file before its size in pixels is known
    image.preprocess = lambda upload: None if upload is None else str(page.files.find(upload.path))
    for block in page.blocks.values():  # a request may name a file for any input
        block.async_move_resource_to_block_cache = partial(_uploads_only, block.async_move_resource_to_block_cache)
    return page.queue(max_size=32, api_open=False)


def launch(
    page: Page,
    host: str,
    port: int,
    max_bytes: int,
    allow_hosts: Sequence[str] = (),
    max_chats: int = _MAX_CHATS,
    **options: Any,
) -> str:
    """Serve the page in the background: own files only, loading nothing from elsewhere; return its address.

    Args:
        page: of :func:`build`.
        host: address to listen at.
        port: port to listen at.
        max_bytes: of an upload.
        allow_hosts: names that the demo is reached by, beside ``host`` and those of this machine itself.
        max_chats: kept at a time; the one that was used least recently goes first.
        options: further ones of gradio's ``launch``.

    Raises:
        OSError: the port is taken.
        ValueError: one of ``allow_hosts`` is no host.
    """
    guards = [
        Middleware(KnownHostsOnly, KnownHosts(host, port, allow_hosts)),
        Middleware(OwnOriginOnly),
        Middleware(KnownRoutesOnly, max_bytes),
        Middleware(OwnThingsOnly, page.files, {index: len(fn.inputs) for index, fn in page.fns.items()}),
    ]
    _, address, _ = page.launch(
        server_name=f"[{host}]" if ":" in host and not host.startswith("[") else host, server_port=port, share=False,
        inbrowser=False, show_api=False, ssr_mode=False, pwa=False, mcp_server=False, enable_monitoring=False,
        allowed_paths=[], max_file_size=max_bytes, state_session_capacity=max_chats, strict_cors=True,
        app_kwargs={"middleware": guards, "lifespan": page.kept_tidy, "docs_url": None, "redoc_url": None, "openapi_url": None},
        prevent_thread_lock=True, quiet=True, **options,
    )  # fmt: skip
    return address


async def _uploads_only(move: Callable[[Any], Awaitable[str | None]], path: Any) -> str | None:
    """Refuse an address instead of an upload: gradio 5 would download it, whatever its size."""
    if is_http_url_like(str(path)):
        raise gr.Error(ADDRESS_REFUSED)
    return await move(path)


def _choice_of_answers(chat: Chat | None) -> Any:
    """The answers whose masks can be shown; the last one is."""
    turns = () if chat is None else chat.turns
    titles = (shorten(question, _TITLE, placeholder=" …") for question, _ in turns)
    choices = [(f"{index + 1}: {title}", index) for index, title in enumerate(titles)]
    return gr.update(choices=choices, value=len(turns) - 1 if turns else None)


def _stopped() -> Any:
    """The stop button, when nothing is left to stop."""
    return gr.update(interactive=False)


def _needed(chat: Chat | None) -> Chat:
    if chat is None or not any(answer.spans for _, answer in chat.turns):
        raise gr.Error("There are no masks yet.")
    return chat


def _turn(chat: Chat, turn: int | None) -> int:
    """Index of the answer that is shown; the last one where none is chosen."""
    return -1 if turn is None or turn >= len(chat.turns) else turn
