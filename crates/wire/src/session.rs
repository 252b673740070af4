//! Bodies of signing in from a browser: ours, not of the stock API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who is signed in, and what the page needs to act for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// The person.
    pub user: SessionUser,
    /// To be sent as `X-CSRF-Token` with every request that is not `GET`.
    pub csrf: String,
    /// When the session ends if it is not used; ISO 8601.
    pub expires_at: String,
    /// Whether the person has no password yet, and should set one.
    pub must_set_password: bool,
}

/// The person of a [`Session`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionUser {
    /// Number on this panel.
    pub id: u64,
    /// Who.
    pub uuid: String,
    /// Login name.
    pub username: String,
    /// E-mail address.
    pub email: String,
    /// May do everything.
    pub admin: bool,
    /// Whether signing in takes a second factor.
    pub two_factor: bool,
}

/// Body of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignIn {
    /// Login name or e-mail address.
    pub user: String,
    /// Password.
    pub password: String,
    /// Code of the second factor, or a recovery code; needed when the account has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// Body of a sign-in by a link that works once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignInByLink {
    /// What stands behind the `#` of the link.
    pub token: String,
}

/// A link that signs somebody in once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignInLink {
    /// The address to open.
    pub url: String,
    /// Until when it works; ISO 8601.
    pub expires_at: String,
}

/// Body of a change of one's password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangePassword {
    /// The one so far; not needed by whoever has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_password: Option<String>,
    /// The new one: 8 characters at least, 200 at most.
    pub password: String,
    /// The same again.
    pub password_confirmation: String,
}

/// What an authenticator app is set up with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TwoFactorOffer {
    /// The offer.
    pub data: TwoFactorSecret,
}

/// Inside of a [`TwoFactorOffer`], in the stock shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TwoFactorSecret {
    /// An `otpauth://` address, for a QR code.
    pub image_url_data: String,
    /// The same secret to be typed, in base 32.
    pub secret: String,
}

/// Body that turns the second factor on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfirmTwoFactor {
    /// The code that the app shows now.
    pub code: String,
    /// One's password.
    pub password: String,
}

/// Body that turns the second factor off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DisableTwoFactor {
    /// One's password.
    pub password: String,
}

/// Codes for when the app is lost; each works once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecoveryTokens {
    /// The codes.
    pub tokens: Vec<String>,
}
