//! What is expected: findings that somebody has said are no failures. Pure; the day comes in.
//!
//! A matrix declares kinds (`expect: [oom]`) and may name an allow-list (`allow: known.yaml`), a YAML list of
//!
//! ```yaml
//! - match: 'WARNING in kvm_arch_.*'   # a regular expression; title, alternative titles or signature must hold it
//!   reason: reported upstream, not ours
//!   until: 2026-12-31                  # optional; from the day after on it is a failure again
//! ```

use std::fmt;

use jiff::civil::Date;
use regex_lite::Regex;
use serde::{de, Deserialize, Deserializer};

use super::finding::{Class, Finding};

/// All that is expected of a matrix's guests.
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    /// Kinds.
    pub kinds: Vec<Kind>,
    /// The allow-list.
    pub rules: Vec<Rule>,
}

impl Expectations {
    /// Why this finding is no failure today; none if it is one.
    pub fn reason(&self, finding: &Finding, today: Date) -> Option<String> {
        if let Some(kind) = self.kinds.iter().find(|kind| kind.covers(finding.class)) {
            return Some(format!("expect: {kind}"));
        }
        let rule = self.rules.iter().find(|rule| rule.holds_on(today) && rule.matches(finding))?;
        Some(rule.reason.clone())
    }

    /// Rules that no longer count.
    pub fn expired(&self, today: Date) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| !rule.holds_on(today))
    }
}

/// A kind of finding that a matrix expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    name: String,
    classes: Vec<Class>,
}

/// Names of several classes at once, in words that people use.
const GROUPS: &[(&str, &[Class])] = &[
    ("oom", &[Class::OomKill, Class::OomDeadlock]),
    ("segfault", &[Class::UserFault]),
    ("stall", &[Class::SoftLockup, Class::RcuStall, Class::WorkqueueLockup]),
];

impl Kind {
    /// Whether it covers findings of that class.
    pub fn covers(&self, class: Class) -> bool {
        self.classes.contains(&class)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Kind, String> {
        if let Some((_, classes)) = GROUPS.iter().find(|(group, _)| *group == name) {
            return Ok(Kind { name: name.to_owned(), classes: classes.to_vec() });
        }
        let class = Class::deserialize(de::value::StrDeserializer::<de::value::Error>::new(name)).map_err(|_| {
            let groups: Vec<_> = GROUPS.iter().map(|(group, _)| *group).collect();
            format!("'{name}' is no kind of finding, expected {} or a class, such as hung-task", groups.join(", "))
        })?;
        Ok(Kind { name: name.to_owned(), classes: vec![class] })
    }
}

/// A line of an allow-list.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What a title or a signature must hold.
    #[serde(rename = "match", deserialize_with = "regex")]
    pattern: Regex,
    /// Why it is no failure.
    pub reason: String,
    /// The last day on which that is so.
    #[serde(default)]
    pub until: Option<Date>,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.pattern.as_str())
    }
}

impl Rule {
    fn holds_on(&self, today: Date) -> bool {
        self.until.is_none_or(|until| today <= until)
    }

    fn matches(&self, finding: &Finding) -> bool {
        let names = finding.alt_titles.iter().chain([&finding.title, &finding.signature]);
        names.into_iter().any(|name| self.pattern.is_match(name))
    }
}

/// Checked by a visitor, so that an error carries its own place.
fn regex<'de, D: Deserializer<'de>>(d: D) -> Result<Regex, D::Error> {
    struct Text;
    impl de::Visitor<'_> for Text {
        type Value = Regex;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a regular expression")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Regex, E> {
            if text.is_empty() {
                return Err(E::custom("an empty expression would allow everything"));
            }
            Regex::new(text).map_err(E::custom)
        }
    }
    d.deserialize_str(Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(text: &str) -> Finding {
        crate::oracle::scan(text.as_bytes()).remove(0)
    }

    #[test]
    fn kinds_and_rules_expire_and_give_reasons() {
        let rules =
            "- {match: 'rss-counter.*ANON', reason: known, until: 2026-02-28}\n- {match: leak, reason: other}\n";
        let rules = crate::matrix::yaml::parse(std::path::Path::new("allow.yaml"), rules).unwrap();
        let expectations = Expectations { kinds: vec!["oom".parse().unwrap()], rules };
        let rss = finding("[    1.000000] BUG: Bad rss-counter state mm:0 type:MM_ANONPAGES val:4\n");
        let (then, later) = (Date::constant(2026, 2, 28), Date::constant(2026, 3, 1));
        assert_eq!(expectations.reason(&rss, then).as_deref(), Some("known"));
        assert_eq!(expectations.reason(&rss, later), None);
        let expired: Vec<String> = expectations.expired(later).map(ToString::to_string).collect();
        assert_eq!(expired, ["rss-counter.*ANON"]);
        let oom = finding("[    1.000000] Kernel panic - not syncing: System is deadlocked on memory\n");
        assert_eq!(expectations.reason(&oom, then).as_deref(), Some("expect: oom"));
    }

    #[test]
    fn what_is_no_kind_or_no_expression_is_refused() {
        assert!("hung-task".parse::<Kind>().is_ok());
        let error = "oops-a-daisy".parse::<Kind>().unwrap_err();
        assert!(error.contains("expected oom, segfault, stall or a class"), "{error}");
        let parse = |text: &str| {
            crate::matrix::yaml::parse::<Vec<Rule>>(std::path::Path::new("a"), text).unwrap_err().to_string()
        };
        assert!(parse("- {match: '(', reason: x}").contains("a:1:"));
        assert!(parse("- {match: '', reason: x}").contains("everything"));
    }
}
