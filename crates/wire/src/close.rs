//! The table of close codes our node uses, and whether the other side should come back.

/// Why a node ends a console socket. Codes 1000, 1001, 1005 and 4409 tell the stock web interface to stay away, every other
/// one brings it back (protocol reference §11.1), so the choice of code is part of the behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The server was deleted from this node. Final.
    Deleted,
    /// The server is suspended. Final until somebody asks again.
    Suspended,
    /// The node is stopping; come back, the games go on.
    GoingAway,
    /// The user's access changed: come back with a new token, or find out that there is none.
    Deauthorized,
    /// No successful `auth` in time.
    AuthTimeout,
    /// Too many failed `auth` in a row.
    AuthFailures,
    /// The token ran out long ago and was not renewed.
    TokenLapsed,
    /// A frame above the size limit.
    MessageTooBig,
    /// What came is no WebSocket (RFC 6455): nothing behind it can be understood.
    ProtocolError,
    /// A text that is not UTF-8.
    InvalidText,
    /// The other side does not read. What it missed is in the log.
    TooSlow,
    /// More connections of this user to this server than allowed.
    TooManyConnections,
    /// Something failed on our side.
    Internal,
}

impl CloseReason {
    /// Every row of the table.
    pub const ALL: [Self; 13] = [
        Self::Deleted,
        Self::Suspended,
        Self::GoingAway,
        Self::Deauthorized,
        Self::AuthTimeout,
        Self::AuthFailures,
        Self::TokenLapsed,
        Self::MessageTooBig,
        Self::ProtocolError,
        Self::InvalidText,
        Self::TooSlow,
        Self::TooManyConnections,
        Self::Internal,
    ];

    /// The WebSocket close code.
    pub const fn code(self) -> u16 {
        match self {
            Self::Deleted => 1001,
            Self::Suspended => 4409,
            Self::GoingAway => 1012,
            Self::Deauthorized | Self::AuthTimeout | Self::AuthFailures | Self::TokenLapsed | Self::TooSlow => 1008,
            Self::ProtocolError => 1002,
            Self::InvalidText => 1007,
            Self::MessageTooBig => 1009,
            Self::TooManyConnections => 1013,
            Self::Internal => 1011,
        }
    }

    /// The text beside the code; at most 123 bytes.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Deleted => "server deleted",
            Self::Suspended => "server is suspended",
            Self::GoingAway => "node is restarting, come back",
            Self::Deauthorized => "access changed, renew your token",
            Self::AuthTimeout => "no auth in time",
            Self::AuthFailures => "too many failed auths",
            Self::TokenLapsed => "token expired and was not renewed",
            Self::MessageTooBig => "message too big",
            Self::ProtocolError => "protocol error",
            Self::InvalidText => "text is not UTF-8",
            Self::TooSlow => "not reading",
            Self::TooManyConnections => "too many connections of this user to this server",
            Self::Internal => "internal error",
        }
    }

    /// Whether a client should connect again by itself.
    pub const fn come_back(self) -> bool {
        !matches!(self, Self::Deleted | Self::Suspended)
    }
}
