//! What the integration tests share.

pub mod accounts;
pub mod app;
pub mod authenticator;
pub mod browser;
pub mod hang_up;
pub mod hostile;
pub mod paid;
pub mod process;
pub mod proxy;
pub mod routes;
pub mod signing;
pub mod site;
pub use opg_upstream as upstream;
pub mod spans;
pub mod wait;

/// Compiled guests: the examples, and one for each hostile or odd behaviour.
pub mod guests {
    pub(crate) mod built {
        include!(concat!(env!("OUT_DIR"), "/guests.rs"));
    }

    /// Those that are core modules.
    mod modules {
        include!(concat!(env!("OUT_DIR"), "/modules.rs"));
    }

    /// `test-guest-extism-kit`.
    pub const EXTISM_KIT: &[u8] = modules::TEST_GUEST_EXTISM_KIT;
    /// `test-guest-extism-servlet`.
    pub const EXTISM_SERVLET: &[u8] = modules::TEST_GUEST_EXTISM_SERVLET;

    macro_rules! guests {
        ($($name:ident = $built:ident;)*) => {
            $(
                #[doc = concat!("`", stringify!($built), "`.")]
                pub const $name: &[u8] = built::$built;
            )*
        };
    }

    guests! {
        AGENT_ECHO = TEST_GUEST_AGENT_ECHO;
        AGENT_SPIN = TEST_GUEST_AGENT_SPIN;
        AGENT_TELLER = TEST_GUEST_AGENT_TELLER;
        BAD_DESCRIBE = TEST_GUEST_BAD_DESCRIBE;
        CHATTER = TEST_GUEST_CHATTER;
        COUNTER = TEST_GUEST_COUNTER;
        CUSTOMERS = EXAMPLE_CUSTOMERS;
        DB = TEST_GUEST_DB;
        EXFIL = TEST_GUEST_EXFIL;
        GRABBY = TEST_GUEST_GRABBY;
        HOG = TEST_GUEST_HOG;
        NOT_A_PLUGIN = TEST_GUEST_NOT_A_PLUGIN;
        RELAY = TEST_GUEST_RELAY;
        ROOMY = TEST_GUEST_ROOMY;
        SECRET_THIEF = TEST_GUEST_SECRET_THIEF;
        SHOUT = TEST_GUEST_SHOUT;
        SLEEPY_DESCRIBE = TEST_GUEST_SLEEPY_DESCRIBE;
        SLOW = TEST_GUEST_SLOW;
        SOCKET = TEST_GUEST_SOCKET;
        SPIN = TEST_GUEST_SPIN;
        TRAP = TEST_GUEST_TRAP;
        TYPED = TEST_GUEST_TYPED;
        TYPED_RESOURCE = TEST_GUEST_TYPED_RESOURCE;
        WASI = TEST_GUEST_WASI;
        WORD_COUNT = EXAMPLE_WORD_COUNT;
        WORKSPACE = TEST_GUEST_WORKSPACE;
    }
}
