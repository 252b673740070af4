//! Credentials of a console socket: `GET /api/client/servers/{server}/websocket` (protocol reference §1, §2.6).

use axum::http::header;
use axum::response::{IntoResponse, Response};
use wire::api::{Credentials, CredentialsData, ErrorBody};
use wire::token::permission;

use super::caller::AtServer;
use super::problem::{Answer, Problem};
use crate::store::servers::Status;
use crate::token::{self, Grant};

/// A token and the address to bring it to.
///
/// The token lives for ten minutes; the socket says when it wants a new one. Needs `websocket.connect`.
#[utoipa::path(
    get, path = "/api/client/servers/{server}/websocket", tag = "client", operation_id = "open_console",
    params(("server" = String, Path, description = "The whole uuid or its first eight characters.")),
    responses(
        (status = 200, body = Credentials),
        (status = 401, description = "No, a wrong, or an expired key.", body = ErrorBody),
        (status = 403, description = "The permission is missing, or the key may not be used here.", body = ErrorBody),
        (status = 404, description = "No such server for this caller.", body = ErrorBody),
        (status = 409, description = "Suspended, under maintenance, being installed, restored or moved.", body = ErrorBody),
        (status = 429, description = "Wait for `Retry-After` seconds.", body = ErrorBody),
    ),
)]
pub(crate) async fn credentials(at: AtServer) -> Response {
    let standing = at.take_token_budget();
    let mut response = if standing.is_allowed() {
        grant(&at).map_or_else(IntoResponse::into_response, |granted| answer(&granted))
    } else {
        Problem::Throttled.into_response()
    };
    standing.write(response.headers_mut());
    response
}

fn grant(at: &AtServer) -> Answer<Credentials> {
    let call = &at.call;
    if !at.relation.allows(permission::CONNECT) {
        return Err(Problem::Forbidden(
            "You may not see the console of this server: websocket.connect is missing.".to_owned(),
        ));
    }
    if at.server.status == Status::Transferring && !at.relation.allows(permission::ADMIN_TRANSFER) {
        return Err(Problem::Forbidden("Only administrators may watch a server while it is being moved.".to_owned()));
    }
    let node = call.node_origin(&at.node).ok_or_else(|| {
        let text = "The Host header of the request names no host, so there is no address to give you.";
        Problem::BadRequest(text.to_owned())
    })?;
    let grant = Grant {
        issuer: call.public_url(),
        audience: node.url_with_port(),
        server: at.server.uuid,
        user: call.user.uuid,
        user_number: call.user.number,
        permissions: at.relation.token_permissions(),
        issued_at: call.checked_at.div_euclid(1000),
        serial: call.serial,
        ttl_s: call.app.config.token_ttl_s,
    };
    let token = token::sign(&grant.into_claims(), &at.node.token)?;
    let scheme = if node.secure { "wss" } else { "ws" };
    let socket = format!("{scheme}://{}:{}/api/servers/{}/ws", node.host, node.port, at.server.uuid);
    Ok(Credentials { data: CredentialsData { token, socket } })
}

/// As `Json` answers it. That would grow what it writes into, and look at each character of the token, of which none is escaped.
fn answer(granted: &Credentials) -> Response {
    let CredentialsData { token, socket } = &granted.data;
    let socket = serde_json::Value::from(socket.as_str());
    let socket = socket.to_string();
    let body = [r#"{"data":{"token":""#, token, r#"","socket":"#, &socket, "}}"].concat();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    //! The states and rights that no request can bring about, set in the database.

    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use tower::ServiceExt;
    use wire::ids::ServerId;

    use super::*;
    use crate::store::StoreError;
    use crate::store::servers::{Server, Status};
    use crate::store::subusers::Given;
    use crate::store::users::User;
    use crate::{Config, NewServer, NodeCredentials, Panel};

    #[tokio::test]
    async fn the_answer_is_what_serde_makes_of_it() {
        let socket = "ws://odd\"host:1/api/servers/x/ws".to_owned();
        let granted = Credentials { data: CredentialsData { token: "eyJ0-_.eyJ.x".to_owned(), socket } };
        let (ours, plain) = (answer(&granted), axum::Json(&granted).into_response());
        assert_eq!(ours.headers(), plain.headers());
        let bytes = async |response: Response| axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        assert_eq!(bytes(ours).await, bytes(plain).await);
    }

    struct Ground {
        panel: Panel,
        admin: User,
        owner: User,
        friend: User,
        server: ServerId,
        _dir: tempfile::TempDir,
    }

    async fn ground() -> Ground {
        ground_with(|_| {}).await
    }

    async fn ground_with(change: impl FnOnce(&mut Config)) -> Ground {
        let dir = tempfile::TempDir::new().unwrap();
        let mut config = Config::new(dir.path().join("panel.sqlite"));
        change(&mut config);
        let panel = Panel::open(config).await.unwrap();
        let node = axum::Router::new().fallback(|| async { StatusCode::ACCEPTED });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, node).await });
        let NodeCredentials { .. } = panel.ensure_local_node("local", &url).await.unwrap();
        let admin = panel.create_admin("admin", "admin@example.org", None).await.unwrap();
        let mut people = Vec::new();
        for name in ["owner", "friend"] {
            let new = crate::NewUser {
                username: name.to_owned(),
                email: format!("{name}@example.org"),
                ..crate::NewUser::default()
            };
            people.push(panel.app.store.insert_user(new).await.unwrap());
        }
        let [owner, friend] = people.try_into().unwrap();
        let new = NewServer {
            name: "one".to_owned(),
            command: Some("x".to_owned()),
            owner: Some(owner.uuid),
            ..NewServer::default()
        };
        let server = panel.create_server(new).await.unwrap();
        Ground { panel, admin, owner, friend, server, _dir: dir }
    }

    impl Ground {
        async fn set_status(&self, status: Status) {
            let edit = |server: &mut Server| {
                server.status = status;
                Ok::<_, StoreError>(Vec::new())
            };
            assert!(self.panel.app.store.change_server(self.server, edit).await.unwrap().is_some());
        }

        async fn ask(&self, who: &User) -> (u16, String) {
            let key = self.panel.create_client_key(who.uuid, "test").await.unwrap();
            let request = Request::get(format!("/api/client/servers/{}/websocket", self.server))
                .header("host", "panel.example")
                .header("authorization", format!("Bearer {key}"))
                .body(Body::empty())
                .unwrap();
            let response = self.panel.router().oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            (status, body["errors"][0]["code"].as_str().unwrap_or_default().to_owned())
        }
    }

    #[tokio::test]
    async fn a_subuser_without_websocket_connect_gets_no_token() {
        let ground = ground().await;
        assert_eq!(ground.ask(&ground.friend).await, (404, "NotFoundHttpException".to_owned()));
        let store = &ground.panel.app.store;
        let held = ["control.console".to_owned(), "control.start".to_owned()];
        assert_eq!(store.insert_subuser(ground.server, ground.friend.uuid, &held).await.unwrap(), Given::New);
        assert_eq!(ground.ask(&ground.friend).await, (403, "HttpForbiddenException".to_owned()));
        // What a hand may have written into the database is not worth more than what the API takes.
        assert!(store.update_subuser(ground.server, ground.friend.uuid, &["*".to_owned()], &[]).await.unwrap());
        assert_eq!(ground.ask(&ground.friend).await, (403, "HttpForbiddenException".to_owned()));
        let held = ["websocket.connect".to_owned()];
        assert!(store.update_subuser(ground.server, ground.friend.uuid, &held, &[]).await.unwrap());
        assert_eq!(ground.ask(&ground.friend).await.0, 200);
    }

    #[tokio::test]
    async fn the_budget_of_tokens_comes_after_the_state_and_before_the_permission() {
        let ground = ground_with(|config| config.websocket_per_minute = 1).await;
        let held = ["control.start".to_owned()];
        let given = ground.panel.app.store.insert_subuser(ground.server, ground.friend.uuid, &held).await.unwrap();
        assert_eq!(given, Given::New);
        // A state costs nothing; a refused permission does.
        ground.set_status(Status::Suspended).await;
        assert_eq!(ground.ask(&ground.friend).await, (409, "ServerStateConflictException".to_owned()));
        ground.set_status(Status::Normal).await;
        assert_eq!(ground.ask(&ground.friend).await, (403, "HttpForbiddenException".to_owned()));
        // With an empty budget, the permission is not looked at any more, but the state still is.
        assert_eq!(ground.ask(&ground.friend).await, (429, "ThrottleRequestsException".to_owned()));
        ground.set_status(Status::Suspended).await;
        assert_eq!(ground.ask(&ground.friend).await, (409, "ServerStateConflictException".to_owned()));
    }

    #[tokio::test]
    async fn an_installation_blocks_everything_but_the_server_itself() {
        let ground = ground().await;
        ground.set_status(Status::Installing).await;
        let key = ground.panel.create_client_key(ground.owner.uuid, "test").await.unwrap();
        let text = "This server is not installed yet. Try again when its installation has finished.";
        let error = serde_json::json!({ "code": "ServerStateConflictException", "status": "409", "detail": text });
        for (method, rest) in
            [("GET", "/websocket"), ("GET", "/resources"), ("POST", "/command"), ("POST", "/power"), ("GET", "/users")]
        {
            let request = Request::builder()
                .method(method)
                .uri(format!("/api/client/servers/{}{rest}", ground.server))
                .header("authorization", format!("Bearer {key}"))
                .body(Body::empty())
                .unwrap();
            let response = ground.panel.router().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 409, "{rest}");
            let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(body, serde_json::json!({ "errors": [error] }), "{rest}");
        }
    }

    #[tokio::test]
    async fn every_state_over_http() {
        let ground = ground().await;
        let held = ["websocket.connect".to_owned()];
        let given = ground.panel.app.store.insert_subuser(ground.server, ground.friend.uuid, &held).await.unwrap();
        assert_eq!(given, Given::New);
        for status in Status::ALL {
            ground.set_status(status).await;
            let (people, administrator) = match status {
                Status::Normal | Status::ReinstallFailed => (200, 200),
                Status::Suspended => (409, 409),
                Status::Installing | Status::InstallFailed | Status::RestoringBackup | Status::Transferring => {
                    (409, 200)
                }
            };
            for person in [&ground.owner, &ground.friend] {
                let (got, code) = ground.ask(person).await;
                assert_eq!(got, people, "{status:?}");
                assert_eq!(code == "ServerStateConflictException", people == 409, "{status:?}");
            }
            assert_eq!(ground.ask(&ground.admin).await.0, administrator, "{status:?}");
        }
    }
}
