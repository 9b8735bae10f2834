//! The requirements of the caching RFCs, section by section, each with the tests that show that it
//! holds, or with the reason why it does not.
//!
//! `cargo test --test rfc -- --nocapture` counts them.

mod rfc_5861;
mod rfc_6585;
mod rfc_8246;
mod rfc_9110;
mod rfc_9111_directives;
mod rfc_9111_fields;
mod rfc_9111_reusing;
mod rfc_9111_storing;
mod rfc_9112;
mod rfc_9113;
mod rfc_9211;
mod rfc_9213;
mod rfc_9530;
mod rfc_9875;
mod sources;
mod table;

use std::collections::HashSet;

use table::{Level, Requirement, Row};

struct Rfc {
    name: &'static str,
    tables: &'static [&'static [Requirement]],
}

const RFCS: &[Rfc] = &[
    Rfc {
        name: "RFC 9110",
        tables: &[rfc_9110::TABLE],
    },
    Rfc {
        name: "RFC 9111",
        tables: &[
            rfc_9111_storing::TABLE,
            rfc_9111_reusing::TABLE,
            rfc_9111_fields::TABLE,
            rfc_9111_directives::TABLE,
        ],
    },
    Rfc {
        name: "RFC 9112",
        tables: &[rfc_9112::TABLE],
    },
    Rfc {
        name: "RFC 9113",
        tables: &[rfc_9113::TABLE],
    },
    Rfc {
        name: "RFC 5861",
        tables: &[rfc_5861::TABLE],
    },
    Rfc {
        name: "RFC 6585",
        tables: &[rfc_6585::TABLE],
    },
    Rfc {
        name: "RFC 8246",
        tables: &[rfc_8246::TABLE],
    },
    Rfc {
        name: "RFC 9211",
        tables: &[rfc_9211::TABLE],
    },
    Rfc {
        name: "RFC 9213",
        tables: &[rfc_9213::TABLE],
    },
    Rfc {
        name: "RFC 9530",
        tables: &[rfc_9530::TABLE],
    },
    Rfc {
        name: "RFC 9875",
        tables: &[rfc_9875::TABLE],
    },
];

impl Rfc {
    fn rows(&self) -> impl Iterator<Item = &'static Requirement> {
        self.tables.iter().copied().flatten()
    }
}

#[test]
fn every_test_that_is_named_exists() {
    let known = sources::tests();
    assert!(
        known.len() > 400,
        "the sources are not where they should be"
    );
    for rfc in RFCS {
        for row in rfc.rows() {
            let Row::Tested(names) = row.row else {
                continue;
            };
            assert!(
                !names.is_empty(),
                "{} §{} {}",
                rfc.name,
                row.section,
                row.text
            );
            for name in names {
                let is_known = known.iter().any(|full| sources::is_meant(full, name));
                assert!(
                    is_known,
                    "{} §{}: there is no test {name}",
                    rfc.name, row.section
                );
            }
        }
    }
}

/// `5.2.1.10` comes behind `5.2.1.9`.
fn numbers(section: &str) -> Vec<u32> {
    let number = |part: &str| {
        part.parse()
            .unwrap_or_else(|_| panic!("{section} is no section"))
    };
    section.split('.').map(number).collect()
}

#[test]
fn rows_are_in_the_order_of_their_sections_and_once_each() {
    for rfc in RFCS {
        let mut seen = HashSet::new();
        let rows: Vec<_> = rfc.rows().collect();
        for two in rows.windows(2) {
            let (one, other) = (numbers(two[0].section), numbers(two[1].section));
            assert!(
                one <= other,
                "{}: {} before {}",
                rfc.name,
                two[0].section,
                two[1].section
            );
        }
        for row in rows {
            assert!(
                seen.insert((row.section, row.text)),
                "{} §{} twice: {}",
                rfc.name,
                row.section,
                row.text
            );
        }
    }
}

#[test]
fn rows_that_are_not_done_have_a_reason() {
    for rfc in RFCS {
        for row in rfc.rows() {
            let (Row::NotDone(reason) | Row::NotOurs(reason)) = row.row else {
                continue;
            };
            assert!(
                reason.len() > 20 && reason.ends_with('.'),
                "{} §{}: {reason:?}",
                rfc.name,
                row.section
            );
            let is_open = matches!(row.row, Row::NotDone(_)) && row.level.is_a_must();
            assert!(
                !is_open,
                "{} §{} is a MUST: {}",
                rfc.name, row.section, row.text
            );
        }
    }
}

#[test]
fn summary() {
    for rfc in RFCS {
        let count = |is: fn(&Row) -> bool| rfc.rows().filter(|row| is(&row.row)).count();
        println!(
            "{}: {} requirements ({} MUST), {} tested, {} not done, {} not a cache's",
            rfc.name,
            rfc.rows().count(),
            rfc.rows().filter(|row| row.level.is_a_must()).count(),
            count(|row| matches!(row, Row::Tested(_))),
            count(|row| matches!(row, Row::NotDone(_))),
            count(|row| matches!(row, Row::NotOurs(_))),
        );
    }
    let all = RFCS.iter().flat_map(Rfc::rows);
    assert!(all.filter(|row| row.level == Level::Must).count() > 60);
}
