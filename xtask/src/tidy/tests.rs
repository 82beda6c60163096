//! The checks of tidy on samples: what each finds, and what it lets pass.

use expect_test::{Expect, expect};

use super::finding::Finding;
use super::layers::{Dependency, Package};
use super::tree::{File, Tree};
use super::{layers, licences, lines, manifests, markdown, names, scan, sizes};

/// What a check found: place and matter of each.
fn found(check: impl FnOnce(&mut Vec<Finding>)) -> String {
    let mut findings = Vec::new();
    check(&mut findings);
    let brief = |finding: &Finding| format!("{}:{} {}", finding.path, finding.line, finding.what);
    findings.iter().map(brief).collect::<Vec<_>>().join("\n")
}

fn rust(text: &str, expected: Expect) {
    let lines = scan::scan(text);
    expected.assert_eq(&found(|findings| lines::check_rust("kernel/src/a.rs", &lines, findings)));
}

#[test]
fn a_finding_says_where_what_why_and_how() {
    let finding = Finding::new("a.rs", 3, "a banner", "because", "remove it");
    expect![[r#"
        a.rs:3: a banner
          why   because
          mend  remove it"#]]
    .assert_eq(&finding.to_string());
}

#[test]
fn code_comments_and_literals_are_told_apart() {
    let lines =
        scan::scan("let a = \"// no\"; // yes\n/* one\n/* two */ */ b('\"', '\\'', &'x ())\n");
    assert_eq!(lines[0].code, "let a = \"\"; ");
    assert_eq!(lines[0].comment, "// yes");
    assert_eq!(lines[0].literal, 5);
    assert_eq!(lines[1].comment, "/* one");
    assert_eq!(lines[2].code, " b('', '', &'x ())");
    let raw = scan::scan("x(r#\"a \"quoted\" // line\nsecond\"#); // end\n");
    assert_eq!(raw[0].code, "x(r#\"");
    assert_eq!(raw[1].code, "\"#); ");
    assert_eq!(raw[1].comment, "// end");
}

#[test]
fn forgotten_words_are_found_in_code_and_comments_but_not_in_text() {
    rust(
        "//! A file: `tile-XXXX.png`.\nfn a() { todo!() }\n// FIXME later\nlet s = \"todo! FIXME\";\n",
        expect![[r#"
            kernel/src/a.rs:2 "todo!"
            kernel/src/a.rs:3 "FIXME""#]],
    );
}

#[test]
fn a_file_opens_with_its_purpose() {
    rust("use std::fmt;\n", expect!["kernel/src/a.rs:1 the file does not open with //!"]);
    rust("//! What it is.\n", expect![""]);
}

#[test]
fn banners_are_found_and_tables_are_not() {
    rust(
        "//! A file.\n//////////\n// ---- part two ----\n// ----------\n//! | a |\n//! |---|\n",
        expect![[r#"
            kernel/src/a.rs:2 a banner
            kernel/src/a.rs:4 a banner"#]],
    );
    rust("//! A file.\n/// # Errors\n/// - one\n/// ---> two\n", expect![""]);
}

#[test]
fn a_line_may_be_long_by_a_literal_or_a_link_only() {
    let literal = format!("//! A.\nlet text = \"{}\";\n", "x".repeat(120));
    rust(&literal, expect![""]);
    rust(&format!("//! A.\n// <https://example.org/{}>\n", "x".repeat(100)), expect![""]);
    let code = format!("//! A.\nlet {} = 1;\n", "x".repeat(120));
    rust(&code, expect!["kernel/src/a.rs:2 129 columns, at most 100"]);
    let both = format!("//! A.\nlet {} = \"a\";\n", "x".repeat(120));
    rust(&both, expect!["kernel/src/a.rs:2 131 columns, at most 100"]);
}

#[test]
fn folders_of_one_machine_are_found_outside_tests() {
    let text = format!("a {}x\nb guest/{}y\n", concat!("/ro", "ot/"), concat!("wo", "rk/"));
    let check = |path| found(|findings| lines::check_any(path, &text, findings));
    assert_eq!(check("docs/start.md"), "docs/start.md:1 the folder /root/ of some machine");
    assert_eq!(check("isos/tests/tour.rs"), "");
}

#[test]
fn the_end_of_lines_and_files_is_clean() {
    let check = found(|findings| lines::check_any("a.sql", "one \ntwo", findings));
    expect![[r#"
        a.sql:1 white space at the end of the line
        a.sql:2 no new line at the end of the file"#]]
    .assert_eq(&check);
}

#[test]
fn names_that_mean_nothing_are_found_in_every_part_of_a_path() {
    let check = |path| found(|findings| names::check(path, findings));
    assert!(check("kernel/src/utils.rs").contains("\"utils\""));
    assert!(check("drivers/node-net/src/lib.rs").contains("\"node\""));
    assert!(check("sdk/src/job_manager/mod.rs").contains("\"manager\""));
    assert_eq!(check("kernel/src/commonly.rs"), "");
}

#[test]
fn long_files_are_found_and_tests_may_be_longer() {
    let check = |path, lines| found(|findings| sizes::check_lines(path, lines, findings));
    assert_eq!(check("a/src/b.rs", 600), "");
    assert_eq!(check("a/src/b.rs", 601), "a/src/b.rs:0 601 lines, at most 600");
    assert_eq!(check("a/src/b/tests.rs", 800), "");
    assert_eq!(check("a/src/b/tests.rs", 801), "a/src/b/tests.rs:0 801 lines, at most 800");
}

fn document(path: &str, text: &str) -> File {
    File { path: path.into(), bytes: text.len() as u64, text: Some(text.into()) }
}

#[test]
fn links_lead_to_files_and_headings() {
    let text = "no title\n[a](b.md) [b](../README.md#the-end) [c](gone.md) [d](b.md#none)\n\
                `[e](code.md)` [f](https://example.org) [g](#here)\n\n# Here\n```text\n[h](x.md)\n```\n";
    let tree = Tree::of(vec![
        document("docs/a.md", text),
        document("docs/b.md", "# B\n"),
        document("README.md", "# R\n## The end\n"),
    ]);
    let check = found(|findings| markdown::check(&tree, "docs/a.md", text, findings));
    expect![[r##"
        docs/a.md:1 the first line is not a title
        docs/a.md:2 the link "gone.md" leads to no file of the repository
        docs/a.md:2 the link "b.md#none" leads to no heading of docs/b.md"##]]
    .assert_eq(&check);
    assert_eq!(markdown::resolve("a/b.md", "../../c"), None);
}

#[test]
fn a_manifest_takes_the_lints_and_says_what_it_is() {
    let good = "[package]\nname = \"a\"\ndescription = \"A.\"\n[lints]\nworkspace = true\n";
    assert_eq!(found(|findings| manifests::check("a/Cargo.toml", good, findings)), "");
    let bad = "[package]\nname = \"a\"\n";
    expect![[r#"
        a/Cargo.toml:0 no lints of the workspace
        a/Cargo.toml:0 no description"#]]
    .assert_eq(&found(|findings| manifests::check("a/Cargo.toml", bad, findings)));
}

#[test]
fn a_lock_file_knows_one_source() {
    let text = "name = \"a\"\nsource = \"git+https://example.org/a\"\n";
    let check = found(|findings| manifests::check_lock("Cargo.lock", text, findings));
    assert_eq!(check, "Cargo.lock:2 a crate comes from git+https://example.org/a");
}

fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
    let dependency = |&(name, kind): &(&str, Option<&str>)| Dependency {
        name: name.into(),
        kind: kind.map(str::to_owned),
    };
    Package { name: name.into(), dependencies: dependencies.iter().map(dependency).collect() }
}

#[test]
fn a_lower_layer_never_names_a_higher_one() {
    let packages = [
        package("isos-base", &[]),
        package("isos-kernel", &[("isos-base", None), ("isos-db", None), ("serde", None)]),
        package("isos-db", &[("isos-base", None), ("sqlx", None), ("isos-kernel", Some("dev"))]),
        package("isos-sdk", &[("sqlx", Some("dev")), ("axum", Some("dev")), ("anyhow", None)]),
        package("isos-new", &[]),
    ];
    let check = found(|findings| layers::check_direct(&packages, findings));
    expect![[r#"
        isos-kernel:0 imports isos-db
        isos-sdk:0 names sqlx
        isos-sdk:0 names anyhow
        isos-new:0 the package has no row in the table of rooms"#]]
    .assert_eq(&check);
}

#[test]
fn a_licence_is_allowed_if_its_expression_can_be_met() {
    let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    let is_allowed = |expression| licences::is_allowed(expression, &allowed);
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "Apache-2.0/MIT",
        "(MIT OR GPL-2.0) AND Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(is_allowed(good), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "MIT WITH Other", "(MIT", "MIT Apache-2.0"] {
        assert!(!is_allowed(bad), "{bad}");
    }
}

#[test]
fn a_banned_crate_is_found_with_the_reason() {
    let text = "[licenses]\nallow = [\"MIT\"]\n\
                [bans]\ndeny = [{ crate = \"bad\", reason = \"it is\" }]\n";
    let deny: licences::Deny = toml::from_str(text).unwrap();
    let check = |package, licence| {
        found(|findings| licences::check_one(&deny, "Cargo.toml", package, licence, findings))
    };
    assert_eq!(check("good v1.0.0", "MIT"), "");
    assert_eq!(
        check("bad v1.0.0", "MIT"),
        "Cargo.toml:0 bad v1.0.0 is compiled, which deny.toml bans: it is"
    );
    assert_eq!(check("odd v1.0.0", "GPL"), "Cargo.toml:0 odd v1.0.0 has the licence \"GPL\"");
}
