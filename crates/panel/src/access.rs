//! Who may do what on a server: every permission decision of the HTTP API. No I/O.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde_json::value::RawValue;
use wire::token::{grants, permission};

use crate::store::servers::Status;

/// A group's name, its description, and its permissions with what each allows.
type Group = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Groups, their descriptions, and the permissions in them with what they allow (protocol reference §8.5).
pub(crate) const CATALOGUE: &[Group] = &[
    ("websocket", "The server's live console.", &[("connect", "See the console and its output.")]),
    (
        "control",
        "The server's power state and its stdin.",
        &[
            ("console", "Type commands into the console."),
            ("start", "Start the server when it is offline."),
            ("stop", "Stop the server, or kill it."),
            ("restart", "Restart the server."),
        ],
    ),
    (
        "user",
        "Other people's rights on the server.",
        &[
            ("create", "Give rights to somebody new, at most one's own."),
            ("read", "See who has which rights."),
            ("update", "Change somebody's rights, at most to one's own."),
            ("delete", "Take somebody's rights away."),
        ],
    ),
    (
        "file",
        "The server's files.",
        &[
            ("create", "Create and upload files and folders."),
            ("read", "List folders."),
            ("read-content", "Read and download files."),
            ("update", "Change files."),
            ("delete", "Delete files and folders."),
            ("archive", "Pack and unpack archives."),
            ("sftp", "Reach the files over SFTP."),
        ],
    ),
    (
        "backup",
        "The server's backups.",
        &[
            ("create", "Make backups."),
            ("read", "List backups."),
            ("delete", "Delete backups."),
            ("download", "Download backups."),
            ("restore", "Put a backup back in place of the files."),
        ],
    ),
    (
        "allocation",
        "The server's addresses.",
        &[
            ("read", "See all addresses with their notes."),
            ("create", "Add addresses."),
            ("update", "Change notes and the main address."),
            ("delete", "Remove addresses."),
        ],
    ),
    (
        "startup",
        "How the server is started.",
        &[
            ("read", "See the command line with its values."),
            ("update", "Change start-up values."),
            ("docker-image", "Choose the container image."),
        ],
    ),
    (
        "database",
        "The server's databases.",
        &[
            ("create", "Create databases."),
            ("read", "List databases."),
            ("update", "Change a database's password."),
            ("delete", "Delete databases."),
            ("view_password", "See a database's password."),
        ],
    ),
    (
        "schedule",
        "The server's schedules.",
        &[
            ("create", "Create schedules."),
            ("read", "See schedules."),
            ("update", "Change schedules."),
            ("delete", "Delete schedules."),
        ],
    ),
    (
        "settings",
        "The server's settings.",
        &[("rename", "Change name and description."), ("reinstall", "Install the server anew.")],
    ),
    ("activity", "The record of who did what.", &[("read", "Read the record.")]),
];

/// What administrators and owners hold.
const OF_ADMINS: &[&str] = &[
    permission::ALL,
    permission::CONNECT,
    permission::ADMIN_ERRORS,
    permission::ADMIN_INSTALL,
    permission::ADMIN_TRANSFER,
];
const OF_OWNERS: &[&str] = &[permission::ALL, permission::CONNECT];

/// The same as their tokens say it: forty names, so they are spelled once and not for each token.
static TOKENS_OF_ADMINS: LazyLock<Box<RawValue>> = LazyLock::new(|| spelled(&with_catalogue(OF_ADMINS)));
static TOKENS_OF_OWNERS: LazyLock<Box<RawValue>> = LazyLock::new(|| spelled(&with_catalogue(OF_OWNERS)));

/// Whoever holds all has the catalogue written out beside the `*`, because newer nodes of others look for names, such as
/// `websocket.connect`.
fn with_catalogue(held: &[&str]) -> Vec<String> {
    let all = CATALOGUE.iter().flat_map(|(group, _, keys)| keys.iter().map(move |(key, _)| format!("{group}.{key}")));
    let named = all.filter(|text| !held.contains(&text.as_str()));
    held.iter().map(|&text| text.to_owned()).chain(named).collect()
}

fn spelled(permissions: &[String]) -> Box<RawValue> {
    // A list of texts can be spelled; were it not so, nothing would be allowed.
    serde_json::value::to_raw_value(permissions).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Permissions only named here: what the HTTP API asks for.
pub(crate) mod asked {
    pub(crate) const USER_READ: &str = "user.read";
    pub(crate) const USER_CREATE: &str = "user.create";
    pub(crate) const USER_UPDATE: &str = "user.update";
    pub(crate) const USER_DELETE: &str = "user.delete";
    pub(crate) const ACTIVITY_READ: &str = "activity.read";
    pub(crate) const ALLOCATION_READ: &str = "allocation.read";
    pub(crate) const ALLOCATION_CREATE: &str = "allocation.create";
    pub(crate) const ALLOCATION_UPDATE: &str = "allocation.update";
    pub(crate) const ALLOCATION_DELETE: &str = "allocation.delete";
    pub(crate) const STARTUP_READ: &str = "startup.read";
    pub(crate) const STARTUP_UPDATE: &str = "startup.update";
    pub(crate) const STARTUP_IMAGE: &str = "startup.docker-image";
    pub(crate) const SETTINGS_RENAME: &str = "settings.rename";
    pub(crate) const SETTINGS_REINSTALL: &str = "settings.reinstall";
}

/// Whether the catalogue has a permission string.
pub(crate) fn is_known(permission: &str) -> bool {
    let Some((group, key)) = permission.split_once('.') else { return false };
    CATALOGUE.iter().any(|(name, _, keys)| *name == group && keys.iter().any(|(name, _)| *name == key))
}

/// What was stored is checked on the way in; what a later version or a hand wrote must not become more.
fn known(held: &[String]) -> impl Iterator<Item = &String> {
    held.iter().filter(|text| is_known(text))
}

/// What a caller is to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// A root administrator, who may or may not own it.
    Admin,
    /// Its owner.
    Owner,
    /// Somebody who was given these permissions.
    Subuser(Vec<String>),
}

impl Relation {
    /// Whether they may do something.
    pub(crate) fn allows(&self, permission: &str) -> bool {
        match self {
            Self::Admin => grants(OF_ADMINS, permission),
            Self::Owner => grants(OF_OWNERS, permission),
            Self::Subuser(held) => known(held).any(|text| grants(&[text], permission)),
        }
    }

    /// What they hold: `user_permissions` beside the server.
    pub(crate) fn permissions(&self) -> Vec<String> {
        let own = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        match self {
            Self::Admin => own(OF_ADMINS),
            Self::Owner => own(OF_OWNERS),
            Self::Subuser(held) => known(held).cloned().collect(),
        }
    }

    /// What their console token says, as JSON: the same, but for whoever holds all ([`with_catalogue`]).
    pub(crate) fn token_permissions(&self) -> Cow<'static, RawValue> {
        match self {
            Self::Admin => Cow::Borrowed(&TOKENS_OF_ADMINS),
            Self::Owner => Cow::Borrowed(&TOKENS_OF_OWNERS),
            Self::Subuser(_) => Cow::Owned(spelled(&self.permissions())),
        }
    }

    /// Which of these they may not hand on, if any: nobody gives what they do not have.
    pub(crate) fn first_not_held<'a>(&self, permissions: &'a [String]) -> Option<&'a str> {
        permissions.iter().map(String::as_str).find(|text| *text != permission::CONNECT && !self.allows(text))
    }
}

/// Which rule of §1.8 an endpoint follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateRule {
    /// `GET /servers/{id}`: always answered.
    Always,
    /// The credentials endpoint: administrators may watch installations and moves.
    Console,
    /// What is about an installation: possible while one is under way.
    Installation,
    /// Everything else.
    Usable,
}

/// Why a server cannot be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// By an administrator.
    Suspended,
    /// Its node is under maintenance.
    Maintenance,
    /// Not yet, or not successfully, installed.
    NotInstalled,
    /// A backup is being put back.
    Restoring,
    /// Moving to another node.
    Transferring,
}

impl Blocked {
    /// For people.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Suspended => "This server is suspended. Ask an administrator.",
            Self::Maintenance => "The node of this server is under maintenance. Try again later.",
            Self::NotInstalled => "This server is not installed yet. Try again when its installation has finished.",
            Self::Restoring => "A backup of this server is being restored. Try again when that has finished.",
            Self::Transferring => "This server is being moved to another node. Try again when that has finished.",
        }
    }
}

/// Whether the server's state blocks an endpoint for this caller; the first reason decides (protocol reference §1.8).
pub(crate) fn blocked(status: Status, maintenance: bool, rule: StateRule, relation: &Relation) -> Option<Blocked> {
    if rule == StateRule::Always {
        return None;
    }
    let reason = match status {
        Status::Suspended => Blocked::Suspended,
        _ if maintenance => Blocked::Maintenance,
        Status::Installing | Status::InstallFailed => Blocked::NotInstalled,
        Status::RestoringBackup => Blocked::Restoring,
        Status::Transferring => Blocked::Transferring,
        Status::Normal | Status::ReinstallFailed => return None,
    };
    let for_everybody = matches!(reason, Blocked::Suspended | Blocked::Maintenance);
    let exempt = match rule {
        StateRule::Console => *relation == Relation::Admin && !for_everybody,
        StateRule::Installation => reason == Blocked::NotInstalled,
        StateRule::Always | StateRule::Usable => false,
    };
    (!exempt).then_some(reason)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn every_permission() -> Vec<String> {
        CATALOGUE
            .iter()
            .flat_map(|(group, _, keys)| keys.iter().map(move |(key, _)| format!("{group}.{key}")))
            .collect()
    }

    #[test]
    fn the_catalogue_is_the_stock_one() {
        let all = every_permission();
        let stock = "websocket.connect control.console control.start control.stop control.restart user.create user.read \
             user.update user.delete file.create file.read file.read-content file.update file.delete file.archive file.sftp \
             backup.create backup.read backup.delete backup.download backup.restore allocation.read allocation.create \
             allocation.update allocation.delete startup.read startup.update startup.docker-image database.create \
             database.read database.update database.delete database.view_password schedule.create schedule.read \
             schedule.update schedule.delete settings.rename settings.reinstall activity.read";
        assert_eq!(all, stock.split_whitespace().collect::<Vec<_>>());
        assert!(all.iter().all(|text| is_known(text)));
        for unknown in [
            "",
            "*",
            "control",
            "control.",
            ".console",
            "control.Console",
            "admin.websocket.errors",
            "control.console ",
        ] {
            assert!(!is_known(unknown), "{unknown}");
        }
    }

    #[test]
    fn each_permission_alone_allows_itself_and_nothing_else() {
        let all = every_permission();
        for held in &all {
            let relation = Relation::Subuser(vec![held.clone()]);
            for asked in &all {
                assert_eq!(relation.allows(asked), asked == held, "{held} / {asked}");
            }
        }
    }

    #[test]
    fn owner_and_administrator_hold_all_but_only_the_administrator_admin_permissions() {
        for text in every_permission() {
            assert!(Relation::Owner.allows(&text) && Relation::Admin.allows(&text), "{text}");
        }
        for text in [permission::ADMIN_ERRORS, permission::ADMIN_INSTALL, permission::ADMIN_TRANSFER] {
            assert!(Relation::Admin.allows(text) && !Relation::Owner.allows(text), "{text}");
        }
    }

    #[test]
    fn a_stored_star_or_admin_permission_of_a_subuser_is_worth_nothing() {
        let relation = Relation::Subuser(vec!["*".into(), permission::ADMIN_ERRORS.into(), "control.start".into()]);
        assert_eq!(relation.permissions(), ["control.start"]);
        assert!(!relation.allows("control.stop") && !relation.allows(permission::ADMIN_ERRORS));
    }

    #[test]
    fn nobody_hands_on_what_they_do_not_hold() {
        let relation = Relation::Subuser(vec!["user.create".into(), "control.start".into()]);
        let list = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        assert_eq!(relation.first_not_held(&list(&["control.start", "websocket.connect"])), None);
        assert_eq!(relation.first_not_held(&list(&["control.start", "control.stop"])), Some("control.stop"));
        assert_eq!(Relation::Owner.first_not_held(&list(&["control.stop", "file.sftp"])), None);
    }

    #[test]
    fn the_state_table() {
        let subuser = Relation::Subuser(vec!["websocket.connect".into()]);
        let everybody = [Relation::Owner, subuser, Relation::Admin];
        let is_blocked = |status, maintenance, rule| {
            everybody.each_ref().map(|relation| blocked(status, maintenance, rule, relation))
        };
        let rows = [
            (Status::Suspended, false, Some(Blocked::Suspended), true),
            (Status::Suspended, true, Some(Blocked::Suspended), true),
            (Status::Normal, true, Some(Blocked::Maintenance), true),
            (Status::Installing, true, Some(Blocked::Maintenance), true),
            (Status::Installing, false, Some(Blocked::NotInstalled), false),
            (Status::InstallFailed, false, Some(Blocked::NotInstalled), false),
            (Status::RestoringBackup, false, Some(Blocked::Restoring), false),
            (Status::Transferring, false, Some(Blocked::Transferring), false),
            (Status::ReinstallFailed, false, None, false),
            (Status::Normal, false, None, false),
        ];
        for (status, maintenance, reason, administrators_too) in rows {
            assert_eq!(is_blocked(status, maintenance, StateRule::Always), [None; 3]);
            let installation = reason.filter(|reason| *reason != Blocked::NotInstalled);
            assert_eq!(is_blocked(status, maintenance, StateRule::Installation), [installation; 3], "{status:?}");
            assert_eq!(is_blocked(status, maintenance, StateRule::Usable), [reason; 3], "{status:?}");
            let admin = if administrators_too { reason } else { None };
            assert_eq!(is_blocked(status, maintenance, StateRule::Console), [reason, reason, admin], "{status:?}");
        }
    }
}
