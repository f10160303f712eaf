-- What a server knows by itself, for `known.rs`: one list in each file beside this one. Made on PostgreSQL 15.18, in a new cluster:
--   psql -X -At -v ON_ERROR_STOP=1 -f made.sql
\o functions.txt
SELECT proname || coalesce(' ' || string_agg(DISTINCT args, ' ' ORDER BY args) FILTER (WHERE args IS NOT NULL), '')
FROM (
    SELECT proname,
           CASE WHEN prorettype::regtype::text LIKE ANY ('{internal,trigger,event_trigger,%handler}')
                     OR proargtypes::regtype[]::text[] && '{internal,cstring}' THEN NULL
                ELSE '(' || coalesce((
                        SELECT string_agg(CASE WHEN t.typelem <> 0 AND left(t.typname, 1) = '_' THEN e.typname || '[]' ELSE t.typname END
                                          || CASE WHEN provariadic <> 0 AND o = pronargs THEN '*'
                                                  WHEN o > pronargs - pronargdefaults THEN '?' ELSE '' END, ',' ORDER BY o)
                        FROM unnest(proargtypes) WITH ORDINALITY a(ty, o) JOIN pg_type t ON t.oid = a.ty
                             LEFT JOIN pg_type e ON e.oid = t.typelem), '') || ')' END AS args
    FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace) f
GROUP BY proname ORDER BY proname COLLATE "C";
\o operators.txt
SELECT oprname || ' ' || string_agg('(' || CASE WHEN oprleft = 0 THEN '' ELSE coalesce(le.typname || '[]', l.typname) || ',' END
                                    || coalesce(re.typname || '[]', r.typname) || ')', ' ' ORDER BY l.typname, r.typname)
FROM pg_operator o LEFT JOIN pg_type l ON l.oid = oprleft LEFT JOIN pg_type le ON le.oid = l.typelem AND left(l.typname, 1) = '_'
     JOIN pg_type r ON r.oid = oprright LEFT JOIN pg_type re ON re.oid = r.typelem AND left(r.typname, 1) = '_'
GROUP BY oprname ORDER BY oprname COLLATE "C";
\o relations.txt
SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v') ORDER BY relname COLLATE "C";
\o settings.txt
SELECT concat_ws('|', name, context, vartype, coalesce(unit, ''), boot_val, min_val, max_val, array_to_string(enumvals, ','))
FROM pg_settings WHERE name NOT LIKE '%.%' ORDER BY lower(name) COLLATE "C";
\o types.txt
SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype <> 'c' AND typcategory <> 'A' ORDER BY typname COLLATE "C";
\o keywords.txt
SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T') ORDER BY word COLLATE "C";
\o
-- Last, the functions of extensions, in a database of its own:
CREATE DATABASE extensions;
\c extensions
SELECT format('CREATE EXTENSION IF NOT EXISTS %I CASCADE', name) FROM pg_available_extensions WHERE name <> 'adminpack' \gexec
\o extensions.txt
SELECT proname FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
WHERE NOT EXISTS (SELECT FROM pg_proc o WHERE o.proname = p.proname AND o.pronamespace = 'pg_catalog'::regnamespace)
      AND prorettype::regtype::text NOT LIKE '%handler' AND NOT (proargtypes::regtype[]::text[] && '{internal}')
GROUP BY proname ORDER BY proname COLLATE "C";
