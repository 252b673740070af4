//! Where an egg's servers can run: as processes of a machine, or only in containers. Told by the image, whose name says what is in it.

use std::fmt;

use crate::model::Egg;

/// What a machine has to offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Whether containers can be run.
    pub has_engine: bool,
    /// Programs, as nodes name them: `java:17`, `dotnet:8`, `mono`, `node`, `python:3`, `steamcmd`, `wine`.
    pub programs: Vec<String>,
}

/// Where an egg's servers can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As processes of this machine.
    RunsHere,
    /// As processes, if this machine had what is named: one of each.
    Needs(Vec<String>),
    /// Only in containers; why.
    NeedsDocker(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunsHere => f.write_str("runs here as a process"),
            Self::Needs(what) => write!(f, "needs {} to run as a process", what.join(" and ")),
            Self::NeedsDocker(why) => write!(f, "needs Docker: {why}"),
        }
    }
}

/// What is in an image.
enum Family {
    /// A program in one of several versions; none: any.
    Program { name: &'static str, title: &'static str, version: Option<u32> },
    /// What a Debian has.
    Plain,
    /// Something that no machine has by itself.
    Special(&'static str),
}

/// Beginnings of tags and names, the longer ones first where one begins another.
const FAMILIES: [(&str, &str, &str); 8] = [
    ("java", "java", "Java"),
    ("dotnet", "dotnet", ".NET"),
    ("mono", "mono", "Mono"),
    ("nodejs", "node", "Node.js"),
    ("node", "node", "Node.js"),
    ("python", "python", "Python"),
    ("bun", "bun", "Bun"),
    ("dart", "dart", "Dart"),
];
const OWN_LIBRARIES: &str = "its image has libraries of the game's own";
const PLAIN: [&str; 8] = ["debian", "ubuntu", "alpine", "base", "installers", "go", "rust", "source"];

impl Egg {
    /// Where its servers can run on such a machine: with any of its images.
    pub fn verdict(&self, host: &Host) -> Verdict {
        let mut needs: Vec<String> = Vec::new();
        let mut special = None;
        for image in &self.images {
            match family(&image.image) {
                Family::Plain => return Verdict::RunsHere,
                Family::Program { name, title, version } => {
                    if has(host, name, version) {
                        return Verdict::RunsHere;
                    }
                    let text = version.map_or_else(|| title.to_owned(), |version| format!("{title} {version}"));
                    if needs.is_empty() {
                        needs.push(text);
                    }
                }
                Family::Special(why) => special = special.or(Some(why)),
            }
        }
        match (needs.is_empty(), special) {
            (false, _) => Verdict::Needs(needs),
            (true, Some(why)) => Verdict::NeedsDocker(why.to_owned()),
            (true, None) => Verdict::RunsHere,
        }
    }
}

fn has(host: &Host, name: &str, version: Option<u32>) -> bool {
    host.programs.iter().any(|program| match (program.split_once(':'), version) {
        (None, _) => program == name,
        (Some((known, _)), None) => known == name,
        (Some((known, has)), Some(wanted)) => known == name && has.parse() == Ok(wanted),
    })
}

fn family(image: &str) -> Family {
    let name = image.trim_start_matches('~').to_ascii_lowercase();
    // `registry/owner/name:tag`: the tag says it, or the name.
    let last = name.rsplit('/').next().unwrap_or(&name);
    let (base, tag) = last.split_once(':').unwrap_or((last, ""));
    for (word, why) in [
        ("wine", "its programs are for Windows"),
        ("proton", "its programs are for Windows"),
        ("box64", "its programs are for another processor"),
        ("box86", "its programs are for another processor"),
    ] {
        if name.contains(word) {
            return Family::Special(why);
        }
    }
    if name.contains("steamcmd") {
        return Family::Program { name: "steamcmd", title: "steamcmd with its 32-bit libraries", version: None };
    }
    if base == "games" {
        return Family::Special(OWN_LIBRARIES);
    }
    for part in [tag, base] {
        for (begins, program, title) in FAMILIES {
            if let Some(rest) = part.strip_prefix(begins) {
                let digits: String =
                    rest.trim_start_matches(['_', '-']).chars().take_while(char::is_ascii_digit).collect();
                return Family::Program { name: program, title, version: digits.parse().ok() };
            }
        }
        if PLAIN.iter().any(|plain| part.starts_with(plain)) {
            return Family::Plain;
        }
    }
    Family::Special(OWN_LIBRARIES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Image;

    fn verdict(images: &[&str], programs: &[&str]) -> String {
        let images = images.iter().map(|image| Image { label: String::new(), image: (*image).to_owned() }).collect();
        let host = Host { has_engine: false, programs: programs.iter().map(|&program| program.to_owned()).collect() };
        Egg { images, ..Egg::default() }.verdict(&host).to_string()
    }

    #[test]
    fn an_image_says_what_its_games_need() {
        let here = "runs here as a process";
        for (images, programs, expected) in [
            (&["ghcr.io/pterodactyl/yolks:java_21", "ghcr.io/pterodactyl/yolks:java_17"][..], &["java:17"][..], here),
            (&["ghcr.io/pterodactyl/yolks:java_21"], &["java:17"], "needs Java 21 to run as a process"),
            (&["ghcr.io/parkervcp/yolks:debian"], &[], here),
            (&["debian:12"], &[], here),
            (&["ghcr.io/parkervcp/yolks:nodejs_20"], &["node"], here),
            (&["ghcr.io/parkervcp/yolks:mono_latest"], &[], "needs Mono to run as a process"),
            (&["ghcr.io/parkervcp/yolks:dotnet_6"], &["dotnet:8"], "needs .NET 6 to run as a process"),
            (&["python:3.12"], &["python:3"], here),
            (&["ghcr.io/parkervcp/games:rust"], &[], "needs Docker: its image has libraries of the game's own"),
            (
                &["ghcr.io/parkervcp/steamcmd:debian"],
                &[],
                "needs steamcmd with its 32-bit libraries to run as a process",
            ),
            (&["ghcr.io/parkervcp/yolks:wine_latest"], &["wine"], "needs Docker: its programs are for Windows"),
            (&["ghcr.io/parkervcp/games:altv"], &[], "needs Docker: its image has libraries of the game's own"),
            (&[], &[], here),
        ] {
            assert_eq!(verdict(images, programs), expected, "{images:?}");
        }
    }
}
