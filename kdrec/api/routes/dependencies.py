"""What the handlers depend on: the catalog of the app they belong to."""

from typing import Annotated

from fastapi import Depends, Request

from kdrec.api.catalog import Catalog


async def _catalog(request: Request) -> Catalog:
    catalog = request.app.state.catalog
    assert isinstance(catalog, Catalog)
    return catalog


ServedCatalog = Annotated[Catalog, Depends(_catalog)]
