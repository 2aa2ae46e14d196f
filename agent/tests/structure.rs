//! What a compiler can't see: modules know only those listed below them, lists of modules are whole, functions fit on a screen.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const FUNCTION_LINES_MAX: usize = 70;

/// One row for each of many, which a reader looks up and never reads through.
const TABLES: [&str; 1] = ["serve/builtin/problem.rs: fn told"];

/// A file, by its path below `src`, and what is in it.
struct Source {
    path: String,
    text: String,
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources(folder: &Path) -> Vec<Source> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let found = paths.flat_map(|path| match path.extension() {
        None if path.is_dir() => sources(&path),
        Some(rs) if rs == "rs" => vec![Source {
            text: std::fs::read_to_string(&path).unwrap(),
            path: path.strip_prefix(source()).unwrap().display().to_string(),
        }],
        _ => Vec::new(),
    });
    found.collect()
}

impl Source {
    /// Without its comments, and without its tests, which may know everything.
    fn code(&self) -> impl Iterator<Item = &str> {
        let code = self.text.split("#[cfg(test)]").next().unwrap();
        code.lines()
            .filter(|line| !line.trim_start().starts_with("//"))
    }

    /// The modules that the table at its top lists, in their order.
    fn listed(&self) -> Vec<&str> {
        let rows = self
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("//! | ["));
        rows.flat_map(|row| row.split('|').next().unwrap().split('`').skip(1).step_by(2))
            .map(|name| name.trim_start_matches("mod@"))
            .collect()
    }

    fn modules(&self) -> BTreeSet<&str> {
        let lines = self.code().map(|line| line.trim_start_matches("pub "));
        lines
            .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
            .collect()
    }
}

#[test]
fn a_module_knows_only_those_listed_below_it() {
    let sources = sources(&source());
    let lib = sources.iter().find(|s| s.path == "lib.rs").unwrap();
    let listed = lib.listed();
    let place = |name: &str| listed.iter().position(|module| *module == name);
    let mut known = 0;
    for source in &sources {
        let module = source.path.split(['/', '.']).next().unwrap();
        let Some(own) = place(module) else {
            assert!(["lib", "main"].contains(&module), "{module} is not listed");
            continue;
        };
        for used in source.code().flat_map(|line| line.split("crate::").skip(1)) {
            let end = used.find(|c: char| c != '_' && !c.is_ascii_lowercase());
            let used = &used[..end.unwrap_or(used.len())];
            let allowed = used == "config"
                || (module, used) == ("owner", "serve")
                || place(used).is_some_and(|place| place >= own);
            assert!(
                allowed,
                "{} knows {used}, which stands above it",
                source.path
            );
            known += 1;
        }
    }
    assert!(known > 100, "the rule sees {known} uses, and no longer all");
}

#[test]
fn a_list_of_modules_has_each_of_them() {
    let mut lists = 0;
    for source in sources(&source()) {
        let listed: BTreeSet<_> = source.listed().into_iter().collect();
        if listed.is_empty() {
            continue;
        }
        let mut modules = source.modules();
        modules.remove("tests");
        assert_eq!(listed, modules, "{}", source.path);
        lists += 1;
    }
    assert!(lists > 3, "the rule sees {lists} lists, and no longer all");
}

#[test]
fn functions_fit_on_a_screen() {
    let mut functions = 0;
    let sources = sources(&source());
    for source in sources.iter().filter(|s| !s.path.ends_with("tests.rs")) {
        let code = source.text.split("#[cfg(test)]").next().unwrap();
        let mut begun = None;
        for (number, line) in code.lines().enumerate() {
            let depth = line.len() - line.trim_start().len();
            let signature = line.split('(').next().unwrap();
            if begun.is_none()
                && signature.split(' ').any(|word| word == "fn")
                && !line.contains("//")
            {
                begun = Some((number, depth, signature));
            }
            let Some((first, depth, signature)) = begun else {
                continue;
            };
            if first == number && line.ends_with([';', '}']) {
                begun = None;
            } else if line == format!("{}}}", " ".repeat(depth))
                || line == format!("{});", " ".repeat(depth))
            {
                let (lines, name) = (
                    number + 1 - first,
                    signature.trim_start_matches(['p', 'u', 'b', ' ']),
                );
                let told = format!("{}: {name}", source.path);
                let is_table = TABLES.contains(&told.as_str());
                assert!(
                    lines <= FUNCTION_LINES_MAX || is_table,
                    "{told} has {lines} lines"
                );
                functions += 1;
                begun = None;
            }
        }
    }
    assert!(
        functions > 500,
        "the rule sees {functions} functions, and no longer all"
    );
}
