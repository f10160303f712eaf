//! Other people's isolation-test files are scenarios: every interleaving of their sessions, not only the permutations that they write down.

mod support;

use support::Project;

#[test]
fn an_interleaving_that_no_permutation_names_is_found() {
    let project = Project::empty();
    let spec = "setup { CREATE TABLE doctors (id int PRIMARY KEY, on_call boolean NOT NULL); INSERT INTO doctors VALUES (1, true), (2, true); }\n\
         session one\nsetup { BEGIN ISOLATION LEVEL REPEATABLE READ; }\n\
         step a { UPDATE doctors SET on_call = false WHERE id = 1 AND (SELECT count(*) FROM doctors WHERE on_call) > 1; }\n\
         step b { COMMIT; }\n\
         session two\nsetup { BEGIN ISOLATION LEVEL REPEATABLE READ; }\n\
         step c { UPDATE doctors SET on_call = false WHERE id = 2 AND (SELECT count(*) FROM doctors WHERE on_call) > 1; }\n\
         step d { COMMIT; }\n\
         permutation a b c d\n";
    project.write("skew.spec", spec);
    let told = project.deadheat(&["run", "skew.spec", "--driver", "explore"]).exits(1);
    told.says("like-one-after-another is violated")
        .says("no serial order ends with doctors: (1, f), (2, f)");
    project.write("skew.spec", &spec.replace("REPEATABLE READ", "SERIALIZABLE"));
    project
        .deadheat(&["run", "skew.spec", "--driver", "explore"])
        .exits(0)
        .says("proved");
}

#[test]
fn a_spec_file_that_is_wrong_is_shown_with_its_line() {
    let project = Project::empty();
    let right = "setup { CREATE TABLE t (id int); }\n\nsession one\nstep a { SELECT id FROM t; }\n";
    project.write("right.spec", right);
    project.deadheat(&["check", "right.spec"]).exits(0);
    project.write("broken.spec", &right.replace("session", "sesion"));
    let told = project.deadheat(&["run", "broken.spec"]).exits(2);
    told.complains("broken.spec:3:").complains("found \"sesion\"");
    project.write(
        "unknown.spec",
        &right.replace("SELECT id FROM t", "SELECT id FROM t TABLESAMPLE system (1)"),
    );
    let told = project.deadheat(&["run", "unknown.spec"]).exits(2);
    told.complains("unknown.spec:4:").complains("not supported");
}
