//! The rules of the gate, as tables of cases.

use super::{
    Action, AppRef, Caller, Capability, CapabilityKind, CredentialKind, Denied, HostPort, Principal, Reach,
    Resource, Scope, Scopes, Standing, Surface,
    credential::{NewToken, Token, basic_password, bearer},
    decide::{action_of, decide},
    matrix,
};
use crate::app::Entropy;
use proptest::prelude::*;
use secrecy::ExposeSecret;
use uuid::Uuid;

fn caller(scopes: Scopes) -> Caller {
    let app = AppRef { app_id: Uuid::from_u128(1), slug: "acme".into(), suspended: false };
    Caller {
        kind: CredentialKind::TenantToken,
        credential_id: None,
        standing: Standing::App(app),
        scopes,
        expires_at: None,
        surface: Surface::Rest,
        ip: None,
        request_id: String::new(),
    }
}

fn operator() -> Caller {
    Caller { kind: CredentialKind::AdminToken, standing: Standing::Operator, ..caller(Scopes::all()) }
}

fn cap(kind: CapabilityKind, target: &str) -> Capability {
    Capability::new(kind, target)
}

fn https(host: &str) -> HostPort<'_> {
    HostPort { host, port: 443, default_port: true }
}

#[test]
fn nobody_is_allowed_nothing() {
    for action in Action::ALL {
        for resource in [Resource::Platform, Resource::App(None), Resource::Outside(Reach::KvRead)] {
            assert_eq!(decide(Principal::Anonymous, *action, &resource), Err(Denied::NotSignedIn));
        }
    }
}

#[test]
fn a_credential_without_scopes_is_allowed_only_to_ask_who_it_is() {
    let caller = caller(Scopes::NONE);
    for action in Action::ALL {
        let allowed = decide(Principal::Caller(&caller), *action, &Resource::App(None)).is_ok();
        assert_eq!(allowed, *action == Action::WhoAmI, "{}", action.name());
    }
}

#[test]
fn an_app_action_asked_of_the_platform_or_the_reverse_is_refused() {
    let (tenant, operator) = (caller(Scopes::all()), operator());
    let ask = |who, action, on: Resource<'_>| decide(Principal::Caller(who), action, &on);
    assert!(matches!(ask(&tenant, Action::AppsCreate, Resource::Platform), Err(Denied::WrongKind { .. })));
    assert!(matches!(ask(&tenant, Action::AppsCreate, Resource::App(None)), Err(Denied::WrongKind { .. })));
    assert!(matches!(ask(&operator, Action::TenantRead, Resource::Platform), Err(Denied::WrongKind { .. })));
    assert!(matches!(ask(&operator, Action::TenantRead, Resource::App(None)), Err(Denied::WrongKind { .. })));
    assert!(ask(&operator, Action::AppsCreate, Resource::Platform).is_ok());
}

#[test]
fn m008_a_path_of_another_app_is_a_mismatch() {
    let caller = caller(Scopes::app());
    let ask = |path| decide(Principal::Caller(&caller), Action::TenantRead, &Resource::App(path));
    assert_eq!(ask(Some("acme")), Ok(()));
    assert_eq!(ask(Some("other")), Err(Denied::AppMismatch));
}

#[test]
fn a_suspended_app_can_do_nothing_by_either_door() {
    let mut caller = caller(Scopes::app());
    if let Standing::App(app) = &mut caller.standing {
        app.suspended = true;
    }
    let over_http = decide(Principal::Caller(&caller), Action::TenantRead, &Resource::App(None));
    assert_eq!(over_http, Err(Denied::Suspended));
    let kv = [cap(CapabilityKind::Kv, "read")];
    let guest = Principal::Guest { caller: &caller, requested: &kv, granted: &kv };
    assert_eq!(decide(guest, Action::GuestKv, &Resource::Outside(Reach::KvRead)), Err(Denied::Suspended));
}

#[test]
fn a_guest_may_do_what_it_declared_and_was_granted_and_its_caller_may_and_never_more() {
    let reach = Reach::Model("openai/gpt-4o");
    let kv = [cap(CapabilityKind::Kv, "write")];
    let model = [cap(CapabilityKind::Model, "openai/*")];
    let ask = |scopes, requested: &[Capability], granted: &[Capability]| {
        let caller = caller(scopes);
        let who = Principal::Guest { caller: &caller, requested, granted };
        decide(who, action_of(&reach), &Resource::Outside(reach.clone()))
    };
    let chat = Scopes::of(&[Scope::ChatWrite]);
    assert_eq!(ask(chat, &model, &model), Ok(()));
    assert!(matches!(ask(chat, &kv, &model), Err(Denied::NotDeclared(_))), "granted but never declared");
    assert!(matches!(ask(chat, &model, &kv), Err(Denied::NotGranted(_))));
    assert!(matches!(ask(chat, &model, &[]), Err(Denied::NotGranted(_))));
    let only_run = Scopes::of(&[Scope::ToolsRun]);
    assert!(
        matches!(ask(only_run, &model, &model), Err(Denied::MissingScope { .. })),
        "its caller may not spend"
    );
}

#[test]
fn a_guest_cannot_ask_for_what_is_done_over_http() {
    let caller = caller(Scopes::all());
    let all = [cap(CapabilityKind::Tool, "*")];
    let guest = Principal::Guest { caller: &caller, requested: &all, granted: &all };
    for action in Action::ALL {
        assert!(decide(guest, *action, &Resource::App(None)).is_err());
        assert!(decide(guest, *action, &Resource::Platform).is_err());
        let wrong_action = *action != Action::GuestTool;
        assert_eq!(decide(guest, *action, &Resource::Outside(Reach::Tool("x"))).is_err(), wrong_action);
    }
}

#[test]
fn a_capability_opens_what_its_target_says() {
    use CapabilityKind::{Http, Kv, Model, Secret, Tool};
    let on_8080 = |host| HostPort { host, port: 8080, default_port: false };
    let cases: &[(Capability, Reach<'_>, bool)] = &[
        (cap(Http, "api.example.com"), Reach::Http(https("api.example.com")), true),
        (cap(Http, "api.example.com"), Reach::Http(https("example.com")), false),
        (cap(Http, "api.example.com"), Reach::Http(https("api.example.com.evil.org")), false),
        (cap(Http, "api.example.com"), Reach::Http(https("evilapi.example.com")), false),
        (cap(Http, "api.example.com"), Reach::Http(on_8080("api.example.com")), false),
        (cap(Http, "api.example.com:8080"), Reach::Http(on_8080("api.example.com")), true),
        (cap(Http, "api.example.com:8080"), Reach::Http(https("api.example.com")), false),
        (cap(Http, "*.example.com"), Reach::Http(https("a.b.example.com")), true),
        (cap(Http, "*.example.com"), Reach::Http(https("example.com")), false),
        (cap(Http, "*.example.com"), Reach::Http(https("evilexample.com")), false),
        (cap(Http, "*"), Reach::Http(https("anything.org")), true),
        (cap(Http, "*"), Reach::Http(on_8080("anything.org")), false),
        (cap(Secret, "KEY@api.example.com"), Reach::SecretName("KEY"), true),
        (cap(Secret, "KEY@api.example.com"), Reach::SecretName("KE"), false),
        (
            cap(Secret, "KEY@api.example.com"),
            Reach::SecretTo { name: "KEY", host: https("api.example.com") },
            true,
        ),
        (
            cap(Secret, "KEY@api.example.com"),
            Reach::SecretTo { name: "KEY", host: https("other.com") },
            false,
        ),
        (cap(Secret, "KEY@api.example.com"), Reach::Http(https("api.example.com")), false),
        (cap(Kv, "write"), Reach::KvRead, true),
        (cap(Kv, "read"), Reach::KvWrite, false),
        (cap(Model, "openai/*"), Reach::Model("openai/gpt"), true),
        (cap(Model, "openai/*"), Reach::Model("openai-evil/gpt"), false),
        (cap(Model, "*"), Reach::Model("a/b"), true),
        (cap(Tool, "word-count"), Reach::Tool("word-count"), true),
        (cap(Tool, "word-count"), Reach::Tool("word-count-2"), false),
        (cap(Tool, "*"), Reach::Model("a/b"), false),
    ];
    for (capability, reach, opens) in cases {
        assert_eq!(capability.opens(reach), *opens, "{capability} for {reach}");
    }
}

#[test]
fn a_target_follows_its_kinds_grammar() {
    use CapabilityKind::{Http, Kv, Model, Secret, Tool};
    for good in [
        cap(Http, "api.example.com"),
        cap(Http, "*.example.com"),
        cap(Http, "localhost:8080"),
        cap(Http, "*"),
        cap(Http, "127.0.0.1:9000"),
        cap(Secret, "API_KEY@api.example.com"),
        cap(Kv, "read"),
        cap(Model, "*"),
        cap(Model, "openai/gpt-4o"),
        cap(Model, "openrouter/meta/llama"),
        cap(Tool, "word-count"),
        cap(Tool, "*"),
    ] {
        assert_eq!(good.check(), Ok(()), "{good}");
    }
    for bad in [
        cap(Http, ""),
        cap(Http, "https://api.example.com"),
        cap(Http, "API.example.com"),
        cap(Http, "a..b"),
        cap(Http, "api.*.com"),
        cap(Http, "host:0"),
        cap(Http, "host:99999"),
        cap(Http, "*:80"),
        cap(Http, "a b"),
        cap(Secret, "API_KEY"),
        cap(Secret, "key@host"),
        cap(Secret, "API_KEY@*"),
        cap(Kv, "all"),
        cap(Model, "gpt"),
        cap(Model, "openai/g*"),
        cap(Tool, "a b"),
        cap(Tool, ""),
    ] {
        assert!(bad.check().is_err(), "{bad}");
    }
}

#[test]
fn a_grant_may_be_narrower_than_the_request_and_never_wider() {
    use CapabilityKind::{Http, Kv, Model, Secret, Tool};
    let within = [
        (cap(Http, "api.example.com"), cap(Http, "*")),
        (cap(Http, "api.example.com"), cap(Http, "*.example.com")),
        (cap(Http, "*.a.example.com"), cap(Http, "*.example.com")),
        (cap(Http, "x.org:8080"), cap(Http, "*")),
        (cap(Secret, "K@a.example.com"), cap(Secret, "K@*.example.com")),
        (cap(Kv, "read"), cap(Kv, "write")),
        (cap(Model, "openai/gpt"), cap(Model, "openai/*")),
        (cap(Tool, "x"), cap(Tool, "*")),
    ];
    for (narrow, wide) in &within {
        assert!(narrow.within(wide), "{narrow} is within {wide}");
        assert!(!wide.within(narrow), "{wide} is not within {narrow}");
    }
    assert!(!cap(Http, "evilexample.com").within(&cap(Http, "*.example.com")));
    assert!(!cap(Http, "api.example.com:8080").within(&cap(Http, "api.example.com")));
    assert!(!cap(Secret, "OTHER@a.example.com").within(&cap(Secret, "K@a.example.com")));
}

#[test]
fn scope_names_are_unique_and_a_star_stands_for_a_noun() {
    let mut names: Vec<_> = Scope::ALL.iter().map(|scope| scope.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Scope::ALL.len());
    assert!(Scope::ALL.len() <= 64, "a set of scopes is 64 bits");
    let chat = Scopes::parse(&["chat:*"]).unwrap();
    assert_eq!(chat.names(), ["chat:read", "chat:write"]);
    for unknown in ["chat", "*", "chat*", "nothing:*", "", "chat:admin"] {
        assert!(Scopes::parse(&[unknown]).is_err(), "{unknown}");
    }
    assert!(!Scopes::app().iter().any(|scope| scope.name().starts_with("platform:")));
}

#[test]
fn every_scope_allows_something_and_every_action_over_http_has_one() {
    for scope in Scope::ALL {
        let used = Action::ALL.iter().any(|action| action.any_of().contains(scope));
        let later = ["sessions:read"].contains(&scope.name());
        assert!(used || later, "`{}` allows nothing", scope.name());
    }
    let free: Vec<_> =
        Action::ALL.iter().filter(|action| action.any_of().is_empty()).map(|a| a.name()).collect();
    assert_eq!(free, ["whoami"]);
}

#[test]
fn m239_a_token_is_sorted_by_its_shape() {
    assert_eq!(Token::of("ocs_acme_sk_a_b"), Token::Tenant { slug: "acme" });
    assert_eq!(Token::of("opg_dev_x"), Token::Dev);
    assert_eq!(Token::of("admin_secret"), Token::Other);
    for unknown in ["ocs_", "ocs_acme", "ocs_acme_", "ocs__x", "opg_dev_", "opg_pat_x", "opg_"] {
        assert_eq!(Token::of(unknown), Token::Unknown, "{unknown}");
    }
    for header in ["Bearer x", "bearer x", "BEARER   x "] {
        assert_eq!(bearer(header), Some("x"));
    }
    for header in ["", "Bearer", "Bearer ", "Basic x", "x"] {
        assert_eq!(bearer(header), None);
    }
    assert_eq!(basic_password("Basic dTpw").as_deref(), Some("p"));
}

#[test]
fn a_new_token_reads_back_as_what_it_is() {
    let entropy = Entropy::repeatable(7);
    let made = NewToken::make(CredentialKind::TenantToken, "acme-corp", &entropy);
    let text = made.token.expose_secret();
    assert_eq!(Token::of(text), Token::Tenant { slug: "acme-corp" });
    assert!(text.starts_with("ocs_acme-corp_sk_") && text.ends_with(&made.last4));
    let other = NewToken::make(CredentialKind::TenantToken, "acme-corp", &entropy);
    assert_ne!(text, other.token.expose_secret());
}

proptest! {
    #[test]
    fn m239_no_header_makes_the_parser_panic(header in ".*") {
        if let Some(token) = bearer(&header) {
            let _ = Token::of(token);
        }
        let _ = basic_password(&header);
        let _ = Token::of(&header);
    }
}

/// The policy as a file: a change of policy is a readable diff. After a change
/// that is meant, write what this test prints into `golden/grants.txt`.
#[test]
fn the_matrix_of_roles_and_actions_is_the_golden_one() {
    let golden = include_str!("golden/grants.txt");
    let printed = matrix::print();
    assert!(golden == printed, "the policy changed; if that is meant, golden/grants.txt becomes:\n{printed}");
}
