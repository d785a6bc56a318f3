"""An invoice as the files that its receiver gets: PDF, XML, and both in a ZIP."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from xml.sax.saxutils import quoteattr

PIECES = 10
PAUSE = 0.05  # seconds between two pieces: a document is drawn while it is sent


def pdf(invoice: Mapping[str, Any]) -> bytes:
    page = f"BT /F1 18 Tf 72 720 Td (Invoice {invoice['uuid']}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%b\nendstream" % (len(page), page),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    document, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        places.append(b"%010d 00000 n \n" % len(document))
        document += b"%d 0 obj%b endobj\n" % (number, content)
    table = b"xref\n0 6\n0000000000 65535 f \n" + b"".join(places)
    return document + table + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % len(document)


def xml(invoice: Mapping[str, Any]) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<invoice uuid={quoteattr(invoice["uuid"])}/>\n'.encode()


def both(invoice: Mapping[str, Any]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("invoice.pdf", pdf(invoice))
        archive.writestr("invoice.xml", xml(invoice))
    return packed.getvalue()


FILES: dict[str, tuple[str, Callable[[Mapping[str, Any]], bytes]]] = {
    "pdf": ("application/pdf", pdf),
    "xml": ("application/xml", xml),
    "zip": ("application/zip", both),
}


async def in_pieces(document: bytes) -> AsyncIterator[bytes]:
    size = -(-len(document) // PIECES)
    for start in range(0, len(document), size):
        await asyncio.sleep(PAUSE)
        yield document[start : start + size]
