//! Which panel, and with which key: arguments, environment, and the file that `up` leaves behind.

use std::fmt;
use std::path::Path;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::args::Global;
use crate::fault::Fault;
use crate::folder::{Folder, read_bytes_if_there, read_if_there, write_private};

/// The environment variable that holds a key.
pub(crate) const KEY_VARIABLE: &str = "QUARTERDECK_KEY";

/// A secret that no debug output shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What `up` remembers in `<data>/cli.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Left {
    /// The panel's address as this machine reaches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// The administrator's API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Secret>,
    /// The demo server, once it was made: it is not made again after somebody deleted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) demo: Option<String>,
}

impl Left {
    /// What stands in the file; nothing when there is none.
    pub(crate) fn load(path: &Path) -> Result<Self, Fault> {
        let Some(bytes) = read_bytes_if_there(path)? else { return Ok(Self::default()) };
        let damaged = |what: &str| {
            Fault::Failed(format!(
                "{}: {what}: the next start of `quarterdeck up` or `quarterdeck panel` writes a new one, with a new key",
                path.display()
            ))
        };
        let text = String::from_utf8(bytes).map_err(|_| damaged("this is not a text file; move it away"))?;
        // The error's own display would quote the line, and the line may be the key.
        toml::from_str(&text).map_err(|error| damaged(&format!("{}; correct it, or move it away", error.message())))
    }

    /// Writes the file, mode 0600.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Fault> {
        let body = toml::to_string(self).map_err(|error| Fault::Failed(format!("{}: {error}", path.display())))?;
        write_private(path, &format!("# Written by `quarterdeck up`. Holds a secret: keep it to yourself.\n{body}"))
    }
}

/// A panel and a key for it.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Address without a path below the panel's own.
    pub(crate) url: Url,
    /// API key.
    pub(crate) key: Secret,
}

impl Access {
    /// From arguments, environment and what `up` left, in this order.
    pub(crate) fn find(global: &Global) -> Result<Self, Fault> {
        let left = match Folder::locate(global.data.as_deref()) {
            Ok(folder) => Left::load(&folder.cli_file())?,
            Err(fault) if global.url.is_none() => return Err(fault),
            Err(_) => Left::default(),
        };
        let key_from_file = match &global.key_file {
            Some(path) => Some(read_key(path)?),
            None => None,
        };
        let key_from_environment = std::env::var(KEY_VARIABLE).ok().filter(|key| !key.trim().is_empty());
        resolve(global.url.as_deref(), key_from_file, key_from_environment, &left)
    }
}

fn read_key(path: &Path) -> Result<String, Fault> {
    match read_if_there(path)? {
        Some(text) => Ok(text),
        None => Err(Fault::Usage(format!("--key-file {}: there is no such file", path.display()))),
    }
}

fn resolve(url: Option<&str>, file: Option<String>, environment: Option<String>, left: &Left) -> Result<Access, Fault> {
    let left_url = left.url.as_deref().map(parse_url).transpose()?;
    let url = match (url.filter(|url| !url.is_empty()).map(parse_url).transpose()?, &left_url) {
        (Some(url), _) => url,
        (None, Some(url)) => url.clone(),
        (None, None) => {
            return Err(Fault::Failed(
                "no panel is known here: start one with `quarterdeck up`, name the data folder of one that runs with --data DIR, \
                 or set QUARTERDECK_URL and QUARTERDECK_KEY"
                    .into(),
            ));
        }
    };
    let key = match (file.or(environment), &left.key) {
        (Some(key), _) => Secret(key.trim().to_owned()),
        // The key of one panel is not for the eyes of another.
        (None, Some(key)) if left_url.as_ref() == Some(&url) => key.clone(),
        (None, _) => {
            return Err(Fault::Failed(format!(
                "no key for {url} is known here: set {KEY_VARIABLE}, or name a file with --key-file"
            )));
        }
    };
    if key.0.is_empty() || !key.0.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Fault::Usage("the key is empty or has spaces or other strange characters in it".into()));
    }
    Ok(Access { url, key })
}

/// The address of a panel, in one spelling: no slash at the end, no query.
pub(crate) fn parse_url(text: &str) -> Result<Url, Fault> {
    let wrong = |why: &str| {
        Fault::Usage(format!("`{text}` is not a panel's address ({why}); it looks like http://127.0.0.1:8080"))
    };
    let mut url = Url::parse(text.trim()).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("http or https is missing"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Fault::Usage(
            "a user name or password in the panel's address is of no use; the key goes into QUARTERDECK_KEY".into(),
        ));
    }
    url.set_query(None);
    url.set_fragment(None);
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty();
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn left() -> Left {
        Left { url: Some("http://127.0.0.1:8080".into()), key: Some(Secret("left".into())), demo: None }
    }

    #[test]
    fn arguments_win_over_environment_and_both_over_what_up_left() {
        let resolved = |url, file: Option<&str>, env: Option<&str>| {
            let access = resolve(url, file.map(Into::into), env.map(Into::into), &left()).unwrap();
            (access.url.to_string(), access.key.0)
        };
        assert_eq!(resolved(None, None, None), ("http://127.0.0.1:8080/".into(), "left".into()));
        assert_eq!(resolved(None, None, Some("env")).1, "env");
        assert_eq!(resolved(None, Some("file\n"), Some("env")).1, "file");
        assert_eq!(resolved(Some("https://panel.example/"), None, Some("env")).0, "https://panel.example/");
        assert_eq!(resolved(Some(""), None, None).0, "http://127.0.0.1:8080/", "an empty variable is no address");
    }

    #[test]
    fn the_key_that_up_left_goes_to_no_other_panel() {
        let fault = resolve(Some("http://elsewhere.example"), None, None, &left()).unwrap_err();
        assert!(fault.to_string().contains(KEY_VARIABLE), "{fault}");
        // The same panel, spelled with a slash.
        assert_eq!(resolve(Some("http://127.0.0.1:8080/"), None, None, &left()).unwrap().key.0, "left");
    }

    #[test]
    fn with_nothing_known_the_error_says_what_to_do() {
        let fault = resolve(None, None, None, &Left::default()).unwrap_err();
        assert!(fault.to_string().contains("quarterdeck up"));
    }

    #[test]
    fn strange_addresses_and_keys_are_refused() {
        for url in ["panel.example", "ftp://panel.example", "http://", "http://me:secret@panel.example"] {
            let fault = parse_url(url).unwrap_err();
            assert!(matches!(fault, Fault::Usage(_)), "{url}");
        }
        assert!(resolve(None, Some(" \n".into()), None, &left()).is_err());
        assert!(resolve(None, Some("two words".into()), None, &left()).is_err());
    }

    #[test]
    fn no_secret_in_debug_output_nor_in_a_parse_error() {
        assert!(!format!("{:?}", left()).contains("left"));
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("cli.toml");
        std::fs::write(&path, "key = ptlc_verysecret\n").unwrap();
        let text = Left::load(&path).unwrap_err().to_string();
        assert!(!text.contains("verysecret"), "{text}");
        assert!(text.contains("move it away") && text.contains("quarterdeck up"), "{text}");
    }

    #[test]
    fn a_file_of_rubbish_is_said_to_be_one_with_the_way_out() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("cli.toml");
        std::fs::write(&path, [0, 159, 146, 150, 255]).unwrap();
        let text = Left::load(&path).unwrap_err().to_string();
        for part in ["cli.toml", "not a text file", "move it away", "quarterdeck up", "new key"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn what_is_saved_is_found_again() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("cli.toml");
        assert_eq!(Left::load(&path).unwrap(), Left::default());
        left().save(&path).unwrap();
        assert_eq!(Left::load(&path).unwrap(), left());
    }
}
