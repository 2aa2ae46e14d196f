//! Brings vCard files in at start: each content once, a broken card reported by file and line and passed over.
//!
//! Called before the handset serves. A file that can't be read, or that holds more than there is room for, is told, and
//! does not keep the handset from coming up.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use blake2::{Blake2s256, Digest};
use rusqlite::{Connection, OptionalExtension};

use super::blobs;
use super::contacts;
use super::json;
use super::resource::{Item, KEPT_BYTES_MAX, PHONE, Resource};
use super::store::items;
use super::store::{Database, StoreError, full};
use super::vcard::{self, Card, CardError, upgrade};

/// Files that were imported.
pub const SCHEMA: &str =
    "CREATE TABLE IF NOT EXISTS imported (hash BLOB PRIMARY KEY) WITHOUT ROWID, STRICT;";

/// Size of a file that is read at most.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of one card at most: each is held in memory when it is told.
const CARD_BYTES_MAX: usize = 4 * 1024 * 1024;

const _: () = assert!(
    CARD_BYTES_MAX <= KEPT_BYTES_MAX,
    "what is kept is told again"
);

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
    if is_imported(database.connection(), &hash)? {
        tracing::debug!(file = %shown, "imported before");
        return Ok(());
    }
    let mut broken = 0;
    let good = vcard::cards(&bytes).filter_map(|card| match card.and_then(|c| contact(&c)) {
        Ok(good) => Some(good),
        Err(error) => {
            broken += 1;
            if broken <= FAULTS_TOLD_MAX {
                tracing::warn!("{shown}:{}: card passed over: {}", error.line, error.fault);
            }
            None
        }
    });
    let told = match database.transaction(|db| bring_in(db, resource, &hash, good)) {
        Ok(told) => told,
        Err(StoreError::Full) => {
            tracing::error!(
                file = %shown,
                resource = resource.name,
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

/// What a card says in the fields of a contact, and all that it says, as vCard 4.0.
fn contact(card: &Card) -> Result<(Item, Vec<u8>), CardError> {
    let item = contacts::from_card(card).map_err(|error| CardError {
        line: card.line,
        fault: error.to_string(),
    })?;
    let mut kept = Vec::new();
    match card.is_version("4.0") {
        true => card.write(&mut kept),
        false => upgrade::card(card).write(&mut kept),
    }
    if kept.len() > CARD_BYTES_MAX {
        let fault = format!("it has {} bytes; {CARD_BYTES_MAX} are the most", kept.len());
        return Err(CardError::new(card.line, fault));
    }
    Ok((item, kept))
}

/// What an import did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    added: u64,
    known: u64,
}

fn is_imported(db: &Connection, hash: &[u8]) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM imported WHERE hash = ?1";
    Ok(db.query_row(sql, [hash], |_| Ok(())).optional()?.is_some())
}

/// Adds the items of a file and remembers its hash. Items that are there already, field by field, are not doubled: a file
/// that grew brings in only what is new.
fn bring_in(
    db: &Connection,
    resource: &Resource,
    hash: &[u8],
    came: impl Iterator<Item = (Item, Vec<u8>)>,
) -> Result<Told, StoreError> {
    let memory = resource.memory(PHONE).ok_or(StoreError::Full)?;
    let digest = |content: &str| -> [u8; 32] { Blake2s256::digest(content).into() };
    let mut known = HashSet::new();
    {
        let mut select = db.prepare(&format!("SELECT content FROM \"{}\"", resource.name))?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            known.insert(digest(row.get_ref(0)?.as_str().unwrap_or_default()));
        }
    }
    let mut told = Told::default();
    for (item, kept) in came {
        if !known.insert(digest(&json::content(resource, &item))) {
            told.known += 1;
            continue;
        }
        let blob = blobs::keep(db, vcard::FORM.media_type, &kept)?.id;
        items::add(db, resource, memory, memory.items_max, item, Some(blob))?;
        told.added += 1;
    }
    db.execute("INSERT INTO imported (hash) VALUES (?1)", [hash])
        .map_err(full)?;
    Ok(told)
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
    use super::super::resource::{BODY_BYTES_MAX, Memory};
    use super::super::store::Store;
    use super::*;

    #[tokio::test]
    async fn a_file_that_does_not_fit_adds_nothing_and_stops_nothing() {
        static TINY: Resource = Resource {
            name: "tiny",
            item: "tiny",
            memories: &[Memory::phone(1)],
            fields: CONTACTS.fields,
            manager: CONTACTS.manager,
            actions: CONTACTS.actions,
            forms: CONTACTS.forms,
            content: None,
            complete: None,
            body_bytes_max: BODY_BYTES_MAX,
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
                items::count(database.connection(), &TINY, PHONE)
            });
            assert_eq!(run.await.unwrap(), kept);
        }
    }
}
