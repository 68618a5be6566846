//! Conditions: CEL expressions over `principal`, `resource`, `context` and `now`.
//!
//! Fail closed: whatever is not plainly `true` is false, and says why.

use crate::resource::Resource;
use crate::time::Instant;
use cel::common::ast::{EntryExpr, Expr, IdedExpr, MapExpr, StructExpr};
use cel::{Context, Env, Program, Value};
use std::fmt;
use std::sync::{Arc, LazyLock};

/// The longest condition that is accepted, in bytes. This and the next two bound recursion: parser and
/// interpreter recurse, and a stack that overflows takes the whole server down. Together they keep it below the
/// 512 kB that PostgreSQL leaves between `max_stack_depth` and the end of the stack.
pub const MAX_LENGTH: usize = 1024;

/// The most opening brackets of all kinds that a condition may have.
pub const MAX_BRACKETS: usize = 32;

/// The deepest condition that is accepted, in levels of its syntax tree.
pub const MAX_DEPTH: usize = 64;

/// The variables that a condition may mention.
pub const VARIABLES: [&str; 4] = ["principal", "resource", "context", "now"];

/// Attributes of a resource that do not come from its row as such.
pub const BOUNDARY: [&str; 9] = [
    "type",
    "id",
    "tenant",
    "organization",
    "team",
    "project",
    "owner",
    "confidentiality",
    "deleted",
];

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A parsed condition.
pub struct Condition {
    source: Box<str>,
    program: Program,
    /// Which of [`VARIABLES`] it mentions: the others are not made for it.
    mentions: [bool; VARIABLES.len()],
    /// Does it ask of the resource more than its [`BOUNDARY`]?
    needs_row: bool,
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({:?})", self.source)
    }
}

/// Why a text is not a condition.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong.
    pub message: String,
    /// Where, from 1: line and column in characters. `None` where it is not at one place.
    pub position: Option<(usize, usize)>,
}

/// What a condition is evaluated over. JSON is made when a condition that mentions it is reached, not before: most
/// decisions never get there.
pub trait Attributes {
    /// The principal's attributes.
    fn principal(&self) -> serde_json::Value;
    /// The attributes of the resource at hand (the one asked about, or its parent): its [`BOUNDARY`] and, where they are
    /// needed, its row's columns.
    fn resource(&self, resource: &Resource, needs_row: bool) -> serde_json::Value;
    /// What the caller said of the request.
    fn context(&self) -> serde_json::Value;
}

impl Condition {
    /// Parses `source` and refuses what could never be evaluated.
    pub fn parse(source: &str) -> Result<Condition, Malformed> {
        let whole = |message: String| Malformed {
            message,
            position: None,
        };
        if source.trim().is_empty() {
            return Err(whole("the condition is empty".to_owned()));
        }
        if source.len() > MAX_LENGTH {
            return Err(whole(format!(
                "the condition has {} bytes, {MAX_LENGTH} are allowed",
                source.len()
            )));
        }
        let brackets = source.matches(['(', '[', '{']).count();
        if brackets > MAX_BRACKETS {
            return Err(whole(format!(
                "the condition has {brackets} opening brackets, {MAX_BRACKETS} are allowed"
            )));
        }
        let program = ENVIRONMENT
            .compile(source)
            .map_err(|errors| match errors.errors.first() {
                Some(e) => Malformed {
                    message: e.msg.clone(),
                    position: Some((e.pos.0.max(1) as usize, e.pos.1.max(0) as usize)),
                },
                None => whole("the condition cannot be parsed".to_owned()),
            })?;
        let shape = Shape::of(program.expression());
        if shape.depth > MAX_DEPTH {
            return Err(whole(format!(
                "the condition is {} levels deep, {MAX_DEPTH} are allowed",
                shape.depth
            )));
        }
        if let Some(unknown) = shape.unknown {
            let at = source.find(unknown).map_or(0, |byte| source[..byte].chars().count());
            return Err(Malformed {
                message: format!("unknown variable \"{unknown}\"; there are {}", VARIABLES.join(", ")),
                position: Some(line_and_column(source, at)),
            });
        }
        let mentions = VARIABLES.map(|name| shape.mentioned.contains(&name));
        let needs_row = shape.needs_row;
        Ok(Condition {
            source: source.into(),
            program,
            mentions,
            needs_row,
        })
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// `Ok(true)`, `Ok(false)`, or why it is false though nobody said so.
    pub fn evaluate(&self, attributes: &dyn Attributes, resource: &Resource, at: Instant) -> Result<bool, String> {
        let mut context = Context::with_env(ENVIRONMENT.clone());
        for (name, _) in VARIABLES.iter().zip(self.mentions).filter(|(_, mentioned)| *mentioned) {
            let value = match *name {
                "principal" => value_of(attributes.principal()),
                "resource" => value_of(attributes.resource(resource, self.needs_row)),
                "context" => value_of(attributes.context()),
                _ => timestamp(at),
            };
            context.add_variable_from_value(*name, value);
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(answer)) => Ok(answer),
            Ok(_) => Err("the condition is not a boolean".to_owned()),
            Err(e) => Err(e.to_string()),
        }
    }
}

/// What has to be known of a syntax tree before anything recurses over it.
struct Shape<'e> {
    depth: usize,
    mentioned: Vec<&'e str>,
    needs_row: bool,
    unknown: Option<&'e str>,
}

impl<'e> Shape<'e> {
    fn of(root: &'e IdedExpr) -> Shape<'e> {
        let (mut depth, mut mentioned, mut bound) = (0, Vec::new(), Vec::new());
        let mut needs_row = false;
        let mut todo = vec![(root, 1)];
        while let Some((e, level)) = todo.pop() {
            depth = depth.max(level);
            let mut below = |e: &'e IdedExpr| todo.push((e, level + 1));
            match &e.expr {
                Expr::Unspecified | Expr::Literal(_) => {}
                Expr::Ident(name) => {
                    mentioned.push(name.as_str());
                    needs_row |= name == "resource";
                }
                Expr::Select(select) => match &select.operand.expr {
                    Expr::Ident(name) if name == "resource" && BOUNDARY.contains(&select.field.as_str()) => {
                        mentioned.push(name.as_str());
                        depth = depth.max(level + 1);
                    }
                    _ => below(&select.operand),
                },
                Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(below),
                Expr::List(list) => list.elements.iter().for_each(below),
                Expr::Map(MapExpr { entries }) | Expr::Struct(StructExpr { entries, .. }) => {
                    for entry in entries {
                        match &entry.expr {
                            EntryExpr::StructField(field) => below(&field.value),
                            EntryExpr::MapEntry(entry) => {
                                below(&entry.key);
                                below(&entry.value);
                            }
                        }
                    }
                }
                Expr::Comprehension(c) => {
                    bound.push(c.iter_var.as_str());
                    bound.push(c.accu_var.as_str());
                    bound.extend(c.iter_var2.as_deref());
                    [&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result]
                        .into_iter()
                        .for_each(below);
                }
            }
        }
        let known = |name: &&str| VARIABLES.contains(name) || bound.contains(name);
        Shape {
            depth,
            unknown: mentioned.iter().copied().find(|name| !known(name)),
            mentioned,
            needs_row,
        }
    }
}

fn line_and_column(source: &str, chars: usize) -> (usize, usize) {
    source.chars().take(chars).fold((1, 1), |(line, column), c| match c {
        '\n' => (line + 1, 1),
        _ => (line, column + 1),
    })
}

/// JSON numbers without fraction are CEL ints, so that `context.level > 3` means what it says.
fn value_of(json: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(b),
        Json::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(i), _) => Value::Int(i),
            (None, Some(f)) => Value::Float(f),
            (None, None) => Value::Null,
        },
        Json::String(s) => Value::String(Arc::new(s)),
        Json::Array(a) => Value::List(Arc::new(a.into_iter().map(value_of).collect())),
        Json::Object(o) => {
            let map: std::collections::HashMap<String, Value> = o.into_iter().map(|(k, v)| (k, value_of(v))).collect();
            Value::Map(map.into())
        }
    }
}

/// Instants that a calendar cannot hold (the infinities) have no timestamp: conditions over them are errors.
fn timestamp(at: Instant) -> Value {
    const Y2000: i64 = 946_684_800_000_000;
    at.checked_add(Y2000)
        .and_then(chrono::DateTime::from_timestamp_micros)
        .map_or(Value::Null, |t| Value::Timestamp(t.fixed_offset()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Sample;
    impl Attributes for Sample {
        fn principal(&self) -> serde_json::Value {
            json!({"type": "human", "clearance_level": "L2"})
        }
        fn resource(&self, _: &Resource, _: bool) -> serde_json::Value {
            json!({"confidentiality": "normal", "amount": 12.5, "tags": ["a", "b"]})
        }
        fn context(&self) -> serde_json::Value {
            json!({"level": 4, "mfa": true})
        }
    }

    fn any_resource() -> Resource {
        let node = crate::Node::uuid(crate::name::Kind::TEAM, uuid::Uuid::nil());
        Resource::scope(node.clone(), uuid::Uuid::nil(), vec![node])
    }

    fn ask(source: &str) -> Result<bool, String> {
        Condition::parse(source).unwrap().evaluate(&Sample, &any_resource(), 0)
    }

    #[test]
    fn truth() {
        assert_eq!(ask("context.level > 3 && context.mfa"), Ok(true));
        assert_eq!(ask("resource.confidentiality == 'sealed'"), Ok(false));
        assert_eq!(ask("resource.amount < 13.0 && 'a' in resource.tags"), Ok(true));
        assert_eq!(ask("principal.clearance_level >= 'L2'"), Ok(true));
        assert_eq!(ask("now < timestamp('2000-01-02T00:00:00Z')"), Ok(true));
        assert_eq!(ask("now.getFullYear() == 2000"), Ok(true));
        assert_eq!(ask("has(context.level) && !has(context.nothing)"), Ok(true));
    }

    #[test]
    fn errors_are_named_and_never_true() {
        assert!(ask("context.missing == 1").unwrap_err().contains("missing"));
        assert!(ask("context.level").is_err(), "not a boolean");
        assert!(ask("context.level / 0 == 1").is_err());
        assert!(ask("'x' > 3").is_err());
    }

    #[test]
    fn the_row_is_needed_where_more_than_the_boundary_is_asked_for() {
        let needs = |source| Condition::parse(source).unwrap().needs_row;
        for without in [
            "context.level > 3",
            "resource.confidentiality == 'normal' && has(resource.team)",
            "principal.resource == 'x'",
        ] {
            assert!(!needs(without), "{without}");
        }
        for with in [
            "resource.amount > 3",
            "resource.row.team == 'x'",
            "resource['type'] == 'x'",
            "'team' in resource",
            "has(resource.amount)",
            "[resource].exists(r, r.amount > 3)",
            "resource.team.amount == 1 || resource.amount == 1",
        ] {
            assert!(needs(with), "{with}");
        }
    }

    #[test]
    fn malformed_has_a_position() {
        assert_eq!(Condition::parse("context.level >").unwrap_err().position.unwrap().0, 1);
        let unknown = Condition::parse("true ||\n  contxt.level > 3").unwrap_err();
        assert_eq!(unknown.position, Some((2, 3)));
        assert!(unknown.message.contains("contxt"));
        assert!(Condition::parse("  ").is_err());
        assert!(Condition::parse(&"a".repeat(MAX_LENGTH + 1)).is_err());
    }

    #[test]
    fn macros_bring_their_own_variables() {
        assert_eq!(ask("resource.tags.exists(t, t == 'b')"), Ok(true));
    }

    #[test]
    fn neither_depth_nor_length_overflows_the_stack() {
        // Optimised, as it runs in a backend, half a megabyte must do; unoptimised frames are several times larger.
        let stack = if cfg!(debug_assertions) { 16 << 20 } else { 512 << 10 };
        let run = |source: String| {
            std::thread::Builder::new()
                .stack_size(stack)
                .spawn(move || {
                    Condition::parse(&source)
                        .map(|c| c.evaluate(&Sample, &any_resource(), 0).is_ok())
                        .ok()
                })
                .unwrap()
                .join()
                .expect("no overflow")
        };
        let full = |unit: &str| unit.repeat(MAX_LENGTH / unit.len() - 16);
        assert_eq!(run(format!("{}true{}", "(".repeat(500), ")".repeat(500))), None);
        assert_eq!(run(format!("{}true{}", "(".repeat(32), ")".repeat(32))), Some(true));
        run(format!("{}true{}", "[1].exists(x, ".repeat(16), ")".repeat(16)));
        run(format!("{}true", full("!")));
        run(format!("{}true", full("true&&")));
        run(format!("{}true", full("true||")));
        run(format!("1{} == 1", full("+1")));
        run(format!("1{} == 1", full("-1")));
        run(format!("1{}", full("==1")));
        run("[".repeat(MAX_LENGTH));
        run(format!("context{}", full(".a")));
        run(format!("context{}", full("['a']")));
        run(format!("{}1", full("true?1:")));
        run(format!("{}1", full("-")));
    }
}
