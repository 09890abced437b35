"""The package's own imports, those inside functions too; the order of rooms is import-linter's."""

from graphlib import TopologicalSorter

import grimp


def test_no_module_comes_back_to_itself():
    graph = grimp.build_graph("fly64_assets", exclude_type_checking_imports=True, cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert len(imports) > 100
    TopologicalSorter(imports).prepare()  # CycleError names the modules
