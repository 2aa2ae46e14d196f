//! Where a damaged database goes: beside the store under a new name, a bounded number of them, for people to look at.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use super::backend::StoreError;

/// Damaged databases that are kept beside the store; with one more the gateway runs without a store.
const SET_ASIDE_MAX: usize = 5;

/// Renames a damaged database to `<path>.broken-<unix time>`.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let unavailable =
        |error: io::Error| StoreError::Unavailable(format!("it can't be set aside: {error}"));
    let mut prefix = path.file_name().unwrap_or_default().to_os_string();
    prefix.push(".broken-");
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let kept = fs::read_dir(parent)
        .map_err(unavailable)?
        .filter_map(Result::ok)
        .filter(|entry| {
            entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(prefix.as_encoded_bytes())
        })
        .count();
    if kept >= SET_ASIDE_MAX {
        return Err(StoreError::Unavailable(format!(
            "{kept} damaged databases are already kept beside it: remove some"
        )));
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    // Twice within a second gets the next free second's name.
    let aside = (now..).map(|second| {
        let mut name = prefix.clone();
        name.push(second.to_string());
        parent.join(name)
    });
    let aside = aside.take(SET_ASIDE_MAX + 1).find(|aside| !aside.exists());
    let aside =
        aside.ok_or_else(|| StoreError::Unavailable("no free name to set it aside".into()))?;
    fs::rename(path, &aside).map_err(unavailable)?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_goes_under_a_name_of_its_own_until_there_are_too_many() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let store = home.path().join("sessions");
        for number in 1..=SET_ASIDE_MAX {
            fs::create_dir(&store).expect("the last one is gone");
            fs::write(store.join("db"), number.to_string()).expect("a file");
            let aside = set_aside(&store).expect("there is room");
            assert_eq!(
                fs::read_to_string(aside.join("db")).ok(),
                Some(number.to_string())
            );
        }
        fs::create_dir(&store).expect("the last one is gone");
        assert!(matches!(set_aside(&store), Err(StoreError::Unavailable(_))));
        assert!(store.exists(), "it stays where it is");
    }
}
