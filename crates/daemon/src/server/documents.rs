//! Files of one JSON document per line that only grow, until what no longer counts in them is worth writing them anew.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::server::record::replace;

/// What is known of one file without looking into it.
#[derive(Debug)]
pub(crate) struct Documents {
    name: &'static str,
    /// Documents in it.
    count: usize,
    /// With more, it is written anew.
    max: usize,
}

/// Something to be written: done apart from the decision, on a thread that may block.
#[derive(Debug)]
pub(crate) struct Change {
    name: &'static str,
    bytes: Vec<u8>,
    /// In place of all there is, instead of behind it.
    is_anew: bool,
}

impl Documents {
    /// Reads the file of this name in a server's folder, if there is one. A document that cannot be read is left out. Blocking.
    pub(crate) fn load<T: DeserializeOwned>(dir: &Path, name: &'static str, max: usize) -> (Self, Vec<T>) {
        let path = dir.join(name);
        let text = fs::read(&path).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::error!(path = %path.display(), %error, "what was written down cannot be read");
            }
            Vec::new()
        });
        let mut documents = Self { name, count: 0, max };
        let mut read = Vec::new();
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            documents.count += 1;
            match serde_json::from_slice(line) {
                Ok(document) => read.push(document),
                Err(error) => tracing::warn!(path = %path.display(), %error, "one of the documents cannot be read"),
            }
        }
        if text.last().is_some_and(|&byte| byte != b'\n') {
            // The last one was cut off: the next must not be written behind it.
            documents.count = max;
        }
        (documents, read)
    }

    /// One more document. `all` are those that count, it included.
    pub(crate) fn add<'a, T: Serialize + 'a>(
        &mut self,
        document: &T,
        all: impl Iterator<Item = &'a T>,
    ) -> serde_json::Result<Change> {
        let mut bytes = Vec::new();
        let is_anew = self.count >= self.max;
        if is_anew {
            self.count = 0;
            for document in all {
                self.count += 1;
                line(&mut bytes, document)?;
            }
        } else {
            self.count += 1;
            line(&mut bytes, document)?;
        }
        Ok(Change { name: self.name, bytes, is_anew })
    }
}

impl Documents {
    /// The last change was not written, or not whole: the next one is written in place of all there is.
    pub(crate) fn failed(&mut self) {
        self.count = self.max;
    }
}

fn line(bytes: &mut Vec<u8>, document: &impl Serialize) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *bytes, document)?;
    bytes.push(b'\n');
    Ok(())
}

impl Change {
    /// Brings it into the file of a server's folder. Blocking.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        let path = dir.join(self.name);
        if self.is_anew {
            return replace(&path, &self.bytes);
        }
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        file.write_all(&self.bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NAME: &str = "numbers.jsonl";

    fn load(dir: &Path) -> (Documents, Vec<u32>) {
        Documents::load(dir, NAME, 4)
    }

    #[test]
    fn a_document_that_was_cut_off_takes_no_other_with_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NAME), "1\nnonsense\n\n2\n[3").unwrap();
        let (mut documents, read) = load(dir.path());
        assert_eq!(read, [1, 2]);
        documents.add(&4, [1, 2, 4].iter()).unwrap().write(dir.path()).unwrap();
        assert_eq!(load(dir.path()).1, [1, 2, 4]);
    }

    /// A full disk takes a part of a document; the next one stood behind it, and both were lost.
    #[test]
    fn behind_a_write_that_failed_all_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (mut documents, _) = load(dir.path());
        documents.add(&1, [1].iter()).unwrap().write(dir.path()).unwrap();
        fs::write(dir.path().join(NAME), "1\n2").unwrap();
        documents.failed();
        documents.add(&3, [1, 2, 3].iter()).unwrap().write(dir.path()).unwrap();
        assert_eq!(load(dir.path()).1, [1, 2, 3]);
    }

    #[test]
    fn what_no_longer_counts_is_written_away() {
        let dir = tempfile::tempdir().unwrap();
        let (mut documents, read) = load(dir.path());
        assert!(read.is_empty());
        for number in 0..10 {
            let newest = [number - 1, number];
            documents.add(&number, newest.iter()).unwrap().write(dir.path()).unwrap();
            assert!(load(dir.path()).1.len() <= 4);
        }
        assert_eq!(load(dir.path()).1, [6, 7, 8, 9]);
        assert_eq!(load(dir.path()).0.count, documents.count);
    }
}
