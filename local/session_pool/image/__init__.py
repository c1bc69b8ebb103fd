"""What can code in a session import, and how does it get there?"""

from local.session_pool.image.prepare import (
    ImagePreparationError,
    find_session_image,
    prepare_session_image,
)

__all__ = ["ImagePreparationError", "find_session_image", "prepare_session_image"]
