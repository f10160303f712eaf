//! Generated schemas: a parent table and a child, small enough that everybody meets everybody.

use super::gene::Gene;

/// Two tables and their rows, as SQL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Schema {
    /// CREATE statements.
    pub(super) create: Vec<String>,
    /// The rows at the start.
    pub(super) seed: Vec<String>,
    /// Puts rows and sequences back as they were.
    pub(super) reset: Vec<String>,
    /// What ON CONFLICT may name for the parent.
    pub(super) arbiters: Vec<&'static str>,
    /// Whether the child refers to the parent.
    pub(super) has_reference: bool,
    /// Whether `g` of the parent is a generated or identity column, which INSERT can't set.
    pub(super) has_identity: bool,
}

impl Schema {
    pub(super) fn generate(gene: &mut Gene<'_>) -> Schema {
        let mut schema = Schema::default();
        let id = gene.construct(&[
            ("primary key", "id int PRIMARY KEY"),
            ("unique constraint", "id int UNIQUE"),
            ("bigint key", "id bigint PRIMARY KEY"),
            ("unique nulls not distinct", "id int, UNIQUE NULLS NOT DISTINCT (id)"),
            ("no key", "id int"),
        ]);
        let keyed = id != "id int";
        if keyed {
            schema.arbiters.push("(id)");
        }
        let value = gene.construct(&[
            ("default", "v int NOT NULL DEFAULT 5"),
            ("check", "v int NOT NULL DEFAULT 5 CHECK (v < 60)"),
            ("numeric column", "v numeric(8,2) NOT NULL DEFAULT 5"),
        ]);
        let extra = gene.construct(&[
            ("", ""),
            ("identity", ", g int GENERATED ALWAYS AS IDENTITY"),
            ("generated column", ", g int GENERATED ALWAYS AS (id * 2) STORED"),
            ("serial", ", g serial"),
        ]);
        schema.has_identity = extra.contains("IDENTITY") || extra.contains("serial");
        let kinds = gene.construct(&[
            ("text column", ", s text DEFAULT 'a'"),
            ("boolean column", ", s text DEFAULT 'a', b boolean DEFAULT true"),
            (
                "jsonb column",
                ", s text DEFAULT 'a', j jsonb DEFAULT jsonb_build_object('a', 1)",
            ),
            ("array column", ", s text DEFAULT 'a', a int[] DEFAULT ARRAY[1,2]"),
            (
                "uuid column",
                ", s text DEFAULT 'a', u uuid DEFAULT '00000000-0000-0000-0000-000000000001'",
            ),
            (
                "timestamptz column",
                ", s text DEFAULT 'a', w timestamptz DEFAULT '2024-01-02 03:04:05+00'",
            ),
            ("interval column", ", s text DEFAULT 'a', w interval DEFAULT '1 hour'"),
        ]);
        schema
            .create
            .push(format!("CREATE TABLE t ({id}, k int, {value}{kinds}{extra})"));
        let index = gene.construct(&[
            ("", ""),
            ("unique index", "CREATE UNIQUE INDEX t_k ON t (k)"),
            ("partial unique index", "CREATE UNIQUE INDEX t_k ON t (k) WHERE v > 10"),
            ("expression unique index", "CREATE UNIQUE INDEX t_k ON t ((k % 4))"),
            (
                "index nulls not distinct",
                "CREATE UNIQUE INDEX t_k ON t (k) NULLS NOT DISTINCT",
            ),
            ("composite unique index", "CREATE UNIQUE INDEX t_k ON t (k, s)"),
            ("plain index", "CREATE INDEX t_k ON t (k)"),
            ("include index", "CREATE UNIQUE INDEX t_k ON t (k) INCLUDE (v)"),
        ]);
        if !index.is_empty() {
            schema.create.push(index.to_owned());
        }
        match index {
            "CREATE UNIQUE INDEX t_k ON t (k)" | "CREATE UNIQUE INDEX t_k ON t (k) INCLUDE (v)" => {
                schema.arbiters.push("(k)")
            }
            "CREATE UNIQUE INDEX t_k ON t (k) WHERE v > 10" => schema.arbiters.push("(k) WHERE v > 10"),
            "CREATE UNIQUE INDEX t_k ON t ((k % 4))" => schema.arbiters.push("((k % 4))"),
            _ => {}
        }
        let reference = match keyed {
            true => gene.construct(&[
                ("", ""),
                ("foreign key", " REFERENCES t (id)"),
                ("on delete cascade", " REFERENCES t (id) ON DELETE CASCADE"),
                ("on delete set null", " REFERENCES t (id) ON DELETE SET NULL"),
                ("on delete restrict", " REFERENCES t (id) ON DELETE RESTRICT"),
                (
                    "on update cascade",
                    " REFERENCES t (id) ON UPDATE CASCADE ON DELETE CASCADE",
                ),
            ]),
            false => "",
        };
        schema.has_reference = !reference.is_empty();
        let parent = if id.contains("bigint") { "bigint" } else { "int" };
        schema.create.push(format!(
            "CREATE TABLE c (id int PRIMARY KEY, t_id {parent}{reference}, x int NOT NULL DEFAULT 0)"
        ));
        schema.create.push("CREATE SEQUENCE q".to_owned());
        schema
            .seed
            .push("INSERT INTO t (id, k, v) VALUES (1, 1, 10), (2, 2, 20), (3, NULL, 30)".to_owned());
        schema
            .seed
            .push("INSERT INTO c (id, t_id) VALUES (1, 1), (2, 2)".to_owned());
        schema
            .reset
            .extend(["TRUNCATE c, t", "SELECT setval('q', 1, false)"].map(str::to_owned));
        if schema.has_identity {
            schema.reset.push("SELECT setval('t_g_seq', 1, false)".to_owned());
        }
        schema
    }
}
