//! A dashboard's file: its panels, its variables, and every query in it.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file that is no dashboard.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// It can't be read.
    #[error("{0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// It is no JSON.
    #[error("{0}: {1}")]
    Json(PathBuf, serde_json::Error),
}

/// One dashboard.
#[derive(Debug, Clone)]
pub struct Board {
    /// As in the file.
    pub json: Value,
    file: PathBuf,
}

/// One panel.
#[derive(Debug, Clone, Copy)]
pub struct Panel<'a> {
    /// As in the file.
    pub json: &'a Value,
}

/// One query, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Board and panel, for a person.
    pub place: String,
    /// PromQL with Grafana's variables in it.
    pub text: String,
}

impl Board {
    /// Reads a file.
    pub fn read(file: &Path) -> Result<Self, BoardError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| BoardError::Read(file.to_owned(), error))?;
        let json = serde_json::from_str(&text)
            .map_err(|error| BoardError::Json(file.to_owned(), error))?;
        Ok(Self {
            json,
            file: file.to_owned(),
        })
    }

    /// The file's name, for messages.
    pub fn name(&self) -> String {
        let name = self.file.file_name().unwrap_or(self.file.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// Panels and rows in order, those in a collapsed row behind it.
    pub fn panels_and_rows(&self) -> Vec<Panel<'_>> {
        let mut all = Vec::new();
        for json in list(&self.json["panels"]) {
            all.push(Panel { json });
            all.extend(list(&json["panels"]).iter().map(|json| Panel { json }));
        }
        all
    }

    /// Panels that show something.
    pub fn panels(&self) -> Vec<Panel<'_>> {
        let mut panels = self.panels_and_rows();
        panels.retain(|panel| !panel.is_row());
        panels
    }

    /// The queries of the panels.
    pub fn panel_queries(&self) -> Vec<Placed> {
        let mut queries = Vec::new();
        for panel in self.panels() {
            let place = format!("{}: {}", self.name(), panel.title());
            queries.extend(panel.queries().map(|text| Placed {
                place: place.clone(),
                text: text.to_owned(),
            }));
        }
        queries
    }

    /// The queries that draw marks over all panels. They may well find nothing.
    pub fn annotation_queries(&self) -> Vec<Placed> {
        list(&self.json["annotations"]["list"])
            .iter()
            .filter_map(|annotation| {
                Some(Placed {
                    place: format!("{}: mark {}", self.name(), annotation["name"]),
                    text: annotation["expr"].as_str()?.to_owned(),
                })
            })
            .collect()
    }

    /// What the operator chooses at the top: name and query, if it has one.
    pub fn variables(&self) -> Vec<(&str, &str)> {
        list(&self.json["templating"]["list"])
            .iter()
            .map(|variable| {
                let query = variable["query"]["query"].as_str();
                (
                    variable["name"].as_str().unwrap_or_default(),
                    query.unwrap_or_default(),
                )
            })
            .collect()
    }
}

impl<'a> Panel<'a> {
    /// A heading over the panels that follow.
    pub fn is_row(self) -> bool {
        self.json["type"] == "row"
    }

    /// Empty if it has none.
    pub fn title(self) -> &'a str {
        self.json["title"].as_str().unwrap_or_default()
    }

    /// What the reader sees behind the small i.
    pub fn description(self) -> &'a str {
        self.json["description"].as_str().unwrap_or_default()
    }

    /// What its numbers are counted in.
    pub fn unit(self) -> &'a str {
        self.json["fieldConfig"]["defaults"]["unit"]
            .as_str()
            .unwrap_or_default()
    }

    /// Its queries as they stand.
    pub fn queries(self) -> impl Iterator<Item = &'a str> {
        list(&self.json["targets"])
            .iter()
            .map(|target| target["expr"].as_str().unwrap_or_default())
    }
}

fn list(json: &Value) -> &[Value] {
    json.as_array().map_or(&[], Vec::as_slice)
}
