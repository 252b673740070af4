//! The `[containers]` table: what runs games that have an image.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::Deserialize;

use super::set;

/// A network of a server takes eight addresses.
const PREFIX_MAX: u8 = 29;
/// More is no private network any more.
const PREFIX_MIN: u8 = 8;
/// MiB; more than any machine has is a mistake.
const TMPFS_MIB: std::ops::RangeInclusive<u64> = 1..=1_048_576;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Containers {
    mode: Option<Mode>,
    socket: Option<PathBuf>,
    subnet: Option<String>,
    dns: Option<Vec<String>>,
    allowed_mounts: Option<Vec<PathBuf>>,
    tmpfs_mib: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Auto,
    On,
    Off,
}

impl Containers {
    /// Values that cannot be meant.
    pub(super) fn check(&self) -> Result<(), String> {
        let absolute = |path: &&PathBuf| !path.is_absolute();
        if let Some(path) = self.socket.iter().chain(self.allowed_mounts.iter().flatten()).find(absolute) {
            return Err(format!("containers: {} is not an absolute path", path.display()));
        }
        if let Some(text) = self.subnet.as_deref().filter(|text| subnet(text).is_none()) {
            return Err(format!(
                "containers.subnet: `{text}` is no IPv4 network of a size from /{PREFIX_MIN} to /{PREFIX_MAX}; write it as 10.213.0.0/16"
            ));
        }
        if let Some(text) = self.dns.iter().flatten().find(|text| text.parse::<std::net::IpAddr>().is_err()) {
            return Err(format!("containers.dns: `{text}` is no address"));
        }
        match self.tmpfs_mib {
            Some(mib) if !TMPFS_MIB.contains(&mib) => Err(format!(
                "containers.tmpfs_mib is {mib}; it must be from {} to {}",
                TMPFS_MIB.start(),
                TMPFS_MIB.end()
            )),
            _ => Ok(()),
        }
    }

    /// Tells the node what is set.
    pub(super) fn apply(self, settings: &mut daemon::ContainerSettings) {
        let mode = self.mode.map(|mode| match mode {
            Mode::Auto => daemon::Containers::Auto,
            Mode::On => daemon::Containers::On,
            Mode::Off => daemon::Containers::Off,
        });
        set(&mut settings.mode, mode);
        set(&mut settings.socket, self.socket.map(Some));
        set(&mut settings.subnet, self.subnet.as_deref().and_then(subnet));
        set(&mut settings.dns, self.dns);
        set(&mut settings.allowed_mounts, self.allowed_mounts);
        set(&mut settings.tmpfs_mib, self.tmpfs_mib);
    }
}

fn subnet(text: &str) -> Option<(Ipv4Addr, u8)> {
    let net: ipnet::Ipv4Net = text.parse().ok()?;
    (PREFIX_MIN..=PREFIX_MAX).contains(&net.prefix_len()).then(|| (net.network(), net.prefix_len()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Containers {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn all_of_it_reaches_the_node() {
        let written = read(
            "mode = \"on\"\nsocket = \"/run/x.sock\"\nsubnet = \"10.9.0.0/20\"\ndns = [\"9.9.9.9\"]\nallowed_mounts = [\"/srv\"]\ntmpfs_mib = 7",
        );
        assert_eq!(written.check(), Ok(()));
        let mut settings = daemon::ContainerSettings::default();
        written.apply(&mut settings);
        let expected = daemon::ContainerSettings {
            mode: daemon::Containers::On,
            socket: Some("/run/x.sock".into()),
            subnet: (Ipv4Addr::new(10, 9, 0, 0), 20),
            dns: vec!["9.9.9.9".to_owned()],
            allowed_mounts: vec!["/srv".into()],
            tmpfs_mib: 7,
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, part) in [
            ("socket = \"docker.sock\"", "not an absolute path"),
            ("allowed_mounts = [\"srv\"]", "not an absolute path"),
            ("subnet = \"10.0.0.0/30\"", "/29"),
            ("subnet = \"fd00::/64\"", "no IPv4 network"),
            ("dns = [\"one.one\"]", "is no address"),
            ("tmpfs_mib = 0", "from 1"),
        ] {
            let why = read(text).check().unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
        assert!(toml::from_str::<Containers>("mode = \"maybe\"").is_err());
    }
}
