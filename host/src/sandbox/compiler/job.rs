//! What host and child say to each other.

use std::fmt;
use std::str::FromStr;

/// What a child is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// A component to machine code.
    Component,
    /// A core module to machine code.
    Module,
    /// A TypeScript file to a component: `typescript::Maker`.
    TypeScript,
}

impl Job {
    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Job::Component => "component",
            Job::Module => "module",
            Job::TypeScript => "typescript",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Job> {
        [Job::Component, Job::Module, Job::TypeScript].into_iter().find(|job| job.name() == name)
    }
}

/// What one job may use: `<CPU seconds>,<bytes of memory>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    pub(super) cpu_s: u64,
    pub(super) memory_bytes: u64,
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.cpu_s, self.memory_bytes)
    }
}

impl FromStr for Budget {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (cpu_s, memory_bytes) = text.split_once(',').ok_or(())?;
        Ok(Self {
            cpu_s: cpu_s.parse().map_err(|_| ())?,
            memory_bytes: memory_bytes.parse().map_err(|_| ())?,
        })
    }
}

/// What a child is told: the length of what is ours (8 bytes, little endian), that, the input.
pub(super) struct Told<'a> {
    /// Shared code for a component, the packed runtime for a TypeScript file.
    pub(super) ours: &'a [u8],
    pub(super) input: &'a [u8],
}

const HEAD_BYTES: usize = 8;

impl<'a> Told<'a> {
    pub(super) fn head(&self) -> [u8; HEAD_BYTES] {
        (self.ours.len() as u64).to_le_bytes()
    }

    pub(super) fn parse(told: &'a [u8]) -> Option<Told<'a>> {
        let (head, rest) = told.split_at_checked(HEAD_BYTES)?;
        let length = usize::try_from(u64::from_le_bytes(head.try_into().ok()?)).ok()?;
        let (ours, input) = rest.split_at_checked(length)?;
        Some(Told { ours, input })
    }
}

/// What a child answers: one byte, and the rest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// What was asked for.
    Done(Vec<u8>),
    /// Why there is none: the input's fault.
    Refused(String),
}

const DONE: u8 = 0;
const REFUSED: u8 = 1;

impl Answer {
    pub(super) fn into_parts(self) -> (u8, Vec<u8>) {
        match self {
            Answer::Done(bytes) => (DONE, bytes),
            Answer::Refused(why) => (REFUSED, why.into_bytes()),
        }
    }

    pub(super) fn parse(mut said: Vec<u8>) -> Option<Answer> {
        let tag = *said.first()?;
        said.drain(..1);
        match tag {
            DONE => Some(Answer::Done(said)),
            REFUSED => Some(Answer::Refused(String::from_utf8_lossy(&said).into_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_comes_in_two_parts() {
        let told = Told { ours: b"code", input: b"wasm" };
        let sent = [&told.head()[..], told.ours, told.input].concat();
        let heard = Told::parse(&sent).unwrap();
        assert_eq!((heard.ours, heard.input), (told.ours, told.input));
        assert!(Told::parse(&sent[..10]).is_none() && Told::parse(b"").is_none());
    }

    #[test]
    fn what_is_said_is_what_is_understood() {
        let budget = Budget { cpu_s: 30, memory_bytes: 1 << 30 };
        assert_eq!(budget.to_string().parse(), Ok(budget));
        assert_eq!("30".parse::<Budget>(), Err(()));
        for answer in [Answer::Done(b"code".to_vec()), Answer::Refused("no".to_owned())] {
            let expected = format!("{answer:?}");
            let (tag, bytes) = answer.into_parts();
            let said = [vec![tag], bytes].concat();
            assert_eq!(format!("{:?}", Answer::parse(said).unwrap()), expected);
        }
        assert_eq!(Answer::parse(vec![]), None);
        assert_eq!(Answer::parse(vec![7, 1]), None);
    }
}
