"""``python -m fly64_assets.documents.schemas``: write every schema into ``docs/schemas``."""

from fly64_assets.documents.schemas import FOLDER, SCHEMAS

for schema in SCHEMAS.values():
    (FOLDER / schema.file).write_text(schema.text(), "utf-8")
    print(schema.file)
