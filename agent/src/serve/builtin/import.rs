//! Brings vCard files in at start: each content once, a broken card reported by file and line and passed over.
//!
//! Called before the handset serves. A file that can't be read, or that holds more than there is room for, is told, and
//! does not keep the handset from coming up.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use blake2::{Blake2s256, Digest};

use super::contacts;
use super::resource::Resource;
use super::store::{Database, StoreError};
use super::vcard;

/// Size of a file that is read at most.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Broken cards of one file that are told one by one at most; the rest is told as a number.
const FAULTS_TOLD_MAX: usize = 20;

/// Imports one file. Blocks: runs on the store's thread.
pub fn file(database: &mut Database, resource: &Resource, path: &Path) -> Result<(), StoreError> {
    let shown = path.display();
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::error!(file = %shown, %error, "a file to import can't be read; the handset goes on without it");
            return Ok(());
        }
    };
    let hash = Blake2s256::new()
        .chain_update(resource.name)
        .chain_update([0])
        .chain_update(&bytes)
        .finalize();
    if database.is_imported(&hash)? {
        tracing::debug!(file = %shown, "imported before");
        return Ok(());
    }
    let mut items = Vec::new();
    let mut broken = 0;
    for card in vcard::cards(&bytes) {
        let item = card.and_then(|card| {
            contacts::from_vcard(&card).map_err(|error| vcard::CardError {
                line: card.line,
                fault: error.to_string(),
            })
        });
        match item {
            Ok(item) => items.push(item),
            Err(error) => {
                broken += 1;
                if broken <= FAULTS_TOLD_MAX {
                    tracing::warn!("{shown}:{}: card passed over: {}", error.line, error.fault);
                }
            }
        }
    }
    let told = match database.import(resource, &hash, &items) {
        Ok(told) => told,
        Err(StoreError::Full) => {
            tracing::error!(
                file = %shown,
                resource = resource.name,
                cards = items.len(),
                "there is no room for a file to import; nothing of it was added, and the handset goes on without it"
            );
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    tracing::info!(
        file = %shown,
        resource = resource.name,
        added = told.added,
        already_there = told.known,
        broken,
        "imported"
    );
    Ok(())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too long from one that just fits.
    File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let fault = format!("it is longer than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, fault));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::contacts::CONTACTS;
    use super::super::resource::Memory;
    use super::super::store::Store;
    use super::*;

    #[tokio::test]
    async fn a_file_that_does_not_fit_adds_nothing_and_stops_nothing() {
        static TINY: Resource = Resource {
            name: "tiny",
            item: "tiny",
            memories: &[Memory {
                name: "phone",
                items_max: 1,
                fits: None,
            }],
            fields: CONTACTS.fields,
            manager: CONTACTS.manager,
            actions: CONTACTS.actions,
            forms: CONTACTS.forms,
            content: None,
        };
        static ALL: &[&Resource] = &[&TINY];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("contacts.vcf");
        let card = |name: &str| format!("BEGIN:VCARD\nFN:{name}\nEND:VCARD\n");
        let store = Store::open(&dir.path().join("db"), ALL).unwrap();
        for (cards, kept) in [(card("Ada") + &card("Bob"), 0), (card("Cy"), 1)] {
            std::fs::write(&path, cards).unwrap();
            let path = path.clone();
            let run = store.run(move |database| {
                file(database, &TINY, &path)?;
                database.list(&TINY, 0, 9)
            });
            let (items, _) = run.await.unwrap();
            assert_eq!(items.len(), kept);
        }
    }
}
