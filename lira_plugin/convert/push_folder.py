"""Push a packed folder to a hub."""

from pathlib import Path

from huggingface_hub import HfApi

from lira_plugin.convert.packed_config import is_packed


def push_folder(
    folder: str | Path,
    repository: str,
    private: bool = True,
    token: str | bool | None = None,
) -> str:
    """Upload a packed folder as one commit, and give its address; ``HF_ENDPOINT`` names another hub than Hugging Face's.

    Args:
        folder: the packed folder.
        repository: such as ``someone/lira-2b``, made where it is missing.
        private: of a repository that is made.
        token: see huggingface_hub; None takes the one that was logged in with.

    Raises:
        ValueError: the folder is none of :func:`~lira_plugin.convert.pack_model`.
    """
    if not is_packed(folder):
        raise ValueError(f"{folder} is no packed folder: make one with tools/convert_checkpoint.py pack")
    api = HfApi(token=token)
    api.create_repo(repository, private=private, exist_ok=True)
    commit = api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload a packed LIRA")
    return str(commit.commit_url)
