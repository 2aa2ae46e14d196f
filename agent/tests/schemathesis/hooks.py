"""How bodies are sent that are neither JSON nor text: as the bytes that they are."""

import schemathesis

BYTES = [
    "audio/aac",
    "audio/amr",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "message/rfc822",
    "text/calendar",
    "text/directory",
    "text/vcard",
    "text/x-vcalendar",
    "text/x-vcard",
    "video/3gpp",
    "video/mp4",
    "video/quicktime",
    "video/webm",
]

schemathesis.serializer.alias(BYTES, "application/octet-stream")
