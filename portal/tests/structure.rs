//! What a compiler can't see: modules know only those listed below them, functions fit on a screen, files say their job.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 450;

fn sources() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = fs::read_dir(folder)
        .expect("the sources")
        .map(|entry| entry.expect("an entry").path());
    let rust = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|path| {
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        (name, fs::read_to_string(path).expect("text"))
    })
    .collect()
}

#[test]
fn a_module_knows_only_those_listed_below_it() {
    let sources = sources();
    let (_, lib) = sources
        .iter()
        .find(|(name, _)| name == "lib")
        .expect("lib.rs");
    let listed = lib
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.split(';').next());
    let places: HashMap<&str, usize> = listed.zip(0..).collect();
    for (name, text) in sources
        .iter()
        .filter(|(name, _)| !["lib", "main"].contains(&name.as_str()))
    {
        let place = places
            .get(name.as_str())
            .unwrap_or_else(|| panic!("{name} is not listed"));
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for used in code.split("crate::").skip(1) {
            let module = used
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default();
            if let Some(other) = places.get(module) {
                assert!(
                    other > place,
                    "{name} knows {module}, which stands above it"
                );
            }
        }
    }
}

#[test]
fn files_say_their_job_and_functions_fit_on_a_screen() {
    for (name, text) in sources() {
        assert!(text.starts_with("//! "), "{name} does not say its job");
        assert!(text.lines().count() <= FILE_LINES_MAX, "{name} is long");
        let mut start = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let words: Vec<&str> = line.split_whitespace().collect();
            if indent <= 4 && words.contains(&"fn") && !line.trim_start().starts_with("//") {
                start = Some((number, indent));
            }
            if let Some((first, depth)) = start
                && line.trim_end() == format!("{}}}", " ".repeat(depth))
            {
                assert!(
                    number - first < FUNCTION_LINES_MAX,
                    "{name}:{} is too long",
                    first + 1
                );
                start = None;
            }
        }
    }
}
