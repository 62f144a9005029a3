//! How a report that is over becomes a finding: whom it blames, what it is called, whether it is whole.

use super::{Over, Report, Section, MAX_FIELD};
use crate::oracle::finding::{Class, Context as Cpu, Finding, Frame};
use crate::oracle::formats::{Alias, End, Guilt};
use crate::oracle::line::Caller;
use crate::oracle::naming::{cut, normalize, normalize_all, Names};
use crate::oracle::pattern::{render, render_optional, Field};
use crate::oracle::plumbing::{base_name, dispatched, readable, specific, waited_for, Plumbing};

impl Report {
    /// The finding that the report amounts to.
    pub fn close(mut self, over: Over) -> Box<Finding> {
        let format = self.row.format;
        let guilty = self.guilty().map(readable);
        let names = Names {
            guilty: guilty.clone(),
            owner: self.plumbing().first_guilty(&self.owner).map(readable),
            keeper: specific(std::iter::empty(), &self.owner, self.row.format.skip, &[]),
            outer: self.outer().map(readable),
            alias: self.alias().map(readable),
            fields: std::array::from_fn(|i| self.fields[i].as_deref().map(normalize)),
        };
        let lookup = |name: &str| names.get(name);
        let title = cut(&render(format.title, &lookup), MAX_FIELD).to_owned();
        let corrupted_why = self.corruption(over).map(str::to_owned);
        let alt_titles = self.alternatives(&title, &names, corrupted_why.is_some());
        let signature = format!("{}|{}", format.class, render(format.signature, &lookup));
        Box::new(Finding {
            title,
            alt_titles,
            class: format.class,
            severity: format.severity,
            signature,
            primary: self.primary,
            corrupted: corrupted_why.is_some(),
            corrupted_why,
            first_line: self.first_line,
            last_line: self.last_line,
            first_byte: self.first_byte,
            end_byte: self.end_byte,
            process: self.field(Field::Process).map(str::to_owned).or(self.context.process.take()),
            pid: self.number(Field::Pid).or(self.context.pid),
            cpu: self.number(Field::Cpu).or(self.context.cpu),
            condition: self.field(Field::Condition).map(str::to_owned),
            reason: self.field(Field::Reason).map(str::to_owned),
            location: self.field(Field::Location).map(str::to_owned),
            taint: self.context.taint.take(),
            context: self.cpu.or_else(|| {
                self.caller.map(|caller| match caller {
                    Caller::Task(_) => Cpu::Task,
                    Caller::Cpu(_) => Cpu::Interrupt,
                })
            }),
            expected: None,
            guilty,
            frames: self.frames,
        })
    }

    /// The row's own alternatives, then its title and those under the names that others would give the guilty function.
    fn alternatives(&self, title: &str, names: &Names, corrupted: bool) -> Vec<String> {
        let format = self.row.format;
        let mut alternatives: Vec<String> = Vec::new();
        let mut add = |template: &str, guilty: &str| {
            let lookup = |name: &str| if name == "guilty" { names.get(guilty) } else { names.get(name) };
            let Some(text) = render_optional(template, &lookup) else { return };
            let text = cut(&text, MAX_FIELD);
            if text != title && !alternatives.iter().any(|a| a == text) {
                alternatives.push(text.to_owned());
            }
        };
        for template in format.alts {
            add(template, "guilty");
        }
        if format.guilt != Guilt::Nobody {
            for other in ["alias", "call", "nobody"] {
                if other == "nobody" && !corrupted {
                    continue;
                }
                for template in std::iter::once(&format.title).chain(format.alts) {
                    add(template, other);
                }
            }
        }
        // Free text: what is a number is a matter of taste.
        if matches!(format.class, Class::Panic | Class::Violation | Class::OtherBug) {
            let others: Vec<String> =
                std::iter::once(title).chain(alternatives.iter().map(String::as_str)).map(normalize_all).collect();
            for other in others {
                if other != title && !alternatives.contains(&other) {
                    alternatives.push(other);
                }
            }
        }
        if corrupted && self.headline != title && !alternatives.contains(&self.headline) {
            alternatives.push(self.headline.clone());
        }
        alternatives
    }

    fn number(&self, field: Field) -> Option<u32> {
        self.field(field)?.parse().ok()
    }

    fn corruption(&self, over: Over) -> Option<&'static str> {
        let format = self.row.format;
        if self.damage.is_some() || format.end == End::Line {
            return self.damage;
        }
        let ended = over == Over::Itself || self.section == Section::Ended;
        match over {
            // What is missing may still have been on its way: a prefix of a log must not claim to hold a whole report.
            Over::LogEnd if self.section != Section::Ended => Some("the log ends before the report does"),
            Over::Reboot if !ended => Some("the machine rebooted before the report's end"),
            _ if format.guilt != Guilt::Nobody && self.frames.is_empty() && format.end != End::Panic => {
                Some("no stack trace")
            }
            _ => None,
        }
    }

    fn plumbing(&self) -> Plumbing {
        let format = self.row.format;
        Plumbing { reporters: format.reporters, waiting: matches!(format.guilt, Guilt::Waiter | Guilt::Interrupted) }
    }

    fn guilty(&self) -> Option<String> {
        let plumbing = self.plumbing();
        match self.row.format.guilt {
            Guilt::Nobody => None,
            Guilt::Interrupted => Plumbing { waiting: false, ..plumbing }.first_guilty(self.interrupted()),
            Guilt::Trace | Guilt::Waiter => {
                let named = self.field(Field::Function).map(base_name).filter(|f| !plumbing.covers(f));
                named.map(str::to_owned).or_else(|| plumbing.first_guilty(&self.frames))
            }
        }
    }

    /// The part of the trace that ran when the timer interrupt found the CPU stuck.
    fn interrupted(&self) -> &[Frame] {
        &self.frames[self.interrupt().unwrap_or(0)..]
    }

    /// Where that part begins.
    pub(super) fn interrupt(&self) -> Option<usize> {
        self.frames.iter().position(|f| f.ip).or_else(|| self.behind_timer())
    }

    /// Where the trace goes on behind the first timer interrupt in it.
    fn behind_timer(&self) -> Option<usize> {
        const TIMER: [&str; 7] = [
            "asm_sysvec_",
            "apic_timer_interrupt",
            "smp_apic_timer",
            "smp_trace_apic_timer",
            "el1_irq",
            "el1h_64_irq",
            "asm_common_interrupt",
        ];
        let timer = |f: &Frame| !f.unreliable && TIMER.iter().any(|t| f.function.starts_with(t));
        let first = self.frames.iter().position(timer)?;
        // The entry and the handler that it called both bear such names.
        let run = self.frames[first..].iter().take_while(|f| timer(f) || f.unreliable).count();
        Some(first + run)
    }

    /// Whom a fuzzer's dashboard names.
    fn alias(&self) -> Option<String> {
        let format = self.row.format;
        if format.guilt == Guilt::Nobody {
            return None;
        }
        match format.alias {
            // Of an RCU stall, what ran below the timer: above it is who looked, or an NMI in another interrupt.
            Alias::Dispatched if format.end == End::Open => {
                dispatched(&self.frames[self.behind_timer().or(self.interrupt()).unwrap_or(0)..], format.skip)
            }
            Alias::Dispatched => dispatched(self.interrupted(), format.skip),
            Alias::Waited => waited_for(&self.frames),
            Alias::Specific => {
                let named = self.field(Field::Function).filter(|_| !format.head_is_reporter);
                let named = named.into_iter().chain(self.named.iter().map(String::as_str));
                specific(named, &self.frames, format.skip, format.reporters)
            }
        }
    }

    /// A second candidate, for alternative titles. For what does not come back, where the task entered the kernel; for anything
    /// else, who called a service that all the kernel uses.
    fn outer(&self) -> Option<String> {
        match self.row.format.guilt {
            Guilt::Nobody => None,
            Guilt::Interrupted | Guilt::Waiter => self.plumbing().outermost(&self.frames),
            Guilt::Trace => self.plumbing().first_user(&self.frames),
        }
    }
}
