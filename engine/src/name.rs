//! Names as small numbers, so that sets of them are bits and comparisons are of integers.

use hashbrown::HashMap;
use std::sync::Arc;

/// Numbers for names, given in the order of first use and never taken back: compiled policy keeps them
/// across reloads.
#[derive(Clone, Debug, Default)]
pub struct Names {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

impl Names {
    /// The number of `name`, which gets one if it has none.
    pub fn intern(&mut self, name: &str) -> u32 {
        if let Some(&n) = self.numbers.get(name) {
            return n;
        }
        let n = u32::try_from(self.names.len()).expect("more than four billion names");
        let name: Arc<str> = name.into();
        self.names.push(name.clone());
        self.numbers.insert(name, n);
        n
    }

    /// The number of `name`, if it has one. Compares bytes: codes and ids know no case and no collation.
    pub fn get(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The name of a number that this table gave.
    pub fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// No name yet?
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);
        impl $name {
            /// As an index.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

number!(
    /// A role code.
    Role
);
number!(
    /// A permission code.
    Permission
);
number!(
    /// A resource type, or one of the built-in scope types.
    Kind
);

impl Kind {
    /// Contains everything.
    pub const PLATFORM: Kind = Kind(0);
    /// The hard isolation boundary.
    pub const TENANT: Kind = Kind(1);
    /// `authz.organization`.
    pub const ORGANIZATION: Kind = Kind(2);
    /// `authz.team`.
    pub const TEAM: Kind = Kind(3);
    /// `authz.project`.
    pub const PROJECT: Kind = Kind(4);

    /// The names of the built-in kinds, by number.
    pub const BUILT_IN: [&'static str; 5] = ["platform", "tenant", "organization", "team", "project"];

    /// Is this one of the built-in kinds, whose rows are in the extension's own tables?
    pub const fn is_built_in(self) -> bool {
        self.index() < Self::BUILT_IN.len()
    }
}

/// The names of one backend.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    /// Resource types and scope types.
    pub kinds: Names,
    /// Permission codes.
    pub permissions: Names,
    /// Role codes.
    pub roles: Names,
}

impl Default for Vocabulary {
    fn default() -> Self {
        let mut kinds = Names::default();
        Kind::BUILT_IN.iter().for_each(|name| {
            kinds.intern(name);
        });
        Vocabulary {
            kinds,
            permissions: Names::default(),
            roles: Names::default(),
        }
    }
}

impl Vocabulary {
    /// The kind of that name.
    pub fn kind(&mut self, name: &str) -> Kind {
        Kind(self.kinds.intern(name))
    }

    /// The permission of that code.
    pub fn permission(&mut self, code: &str) -> Permission {
        Permission(self.permissions.intern(code))
    }

    /// The role of that code.
    pub fn role(&mut self, code: &str) -> Role {
        Role(self.roles.intern(code))
    }

    /// `kind:key`, for people.
    pub fn show(&self, node: &crate::Node) -> String {
        if node.kind == Kind::PLATFORM {
            "platform".to_owned()
        } else {
            format!("{}:{}", self.kinds.name(node.kind.0), node.key)
        }
    }
}
