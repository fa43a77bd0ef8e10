//! Test guest: `describe` never returns.

use opg_guest::*;

struct Sleepy;

impl Tool for Sleepy {
    const NAME: &'static str = "sleepy";
    const DESCRIPTION: &'static str = "Is never known.";
    const CAPABILITIES: &'static [Capability] = &[];
    type Input = Endless;

    fn run(_input: Endless, _context: Context) -> Result<String, Error> {
        Ok("null".into())
    }
}

plugin!(Sleepy);

/// Its schema takes for ever.
struct Endless;

impl<'de> serde::Deserialize<'de> for Endless {
    fn deserialize<D: serde::Deserializer<'de>>(_deserializer: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

impl schemars::JsonSchema for Endless {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Endless".into()
    }

    fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        loop {
            std::hint::spin_loop();
        }
    }
}
