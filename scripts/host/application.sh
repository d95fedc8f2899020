#!/bin/sh
# application.sh apply|check NAME DATABASE LOGIN OWNER READ_ONLY READ_WRITE CONNECTIONS yes|no [EXTENSION...]:
# an application's roles and database in PostgreSQL, without the password, which password.sh sets.
#
# apply brings them about, and again whatever has changed them; check prints a line for each difference and changes nothing.
# Names are quoted by psql (:"name", :'name') and by the server (format). What is there already is taken over, unless it is
# another application's. yes: its weak password is put up with, and password.sh lets it out of the group platform_hemmed.
set -eu
action=$1 name=$2 database=$3 login=$4 owner=$5 read_only=$6 read_write=$7 connections=$8 hemmed=$9
shift 9
extensions=$*
# By this comment the platform knows later whose a role is, and by its owner whose a database is.
mark="central-data-platform application $name"

fail() {
  echo "$1" >&2
  exit 1
}

# This superuser is in a database where somebody else says what a name means, and what is set at the start of a session:
# options of the connection come before both.
run_sql() { # DATABASE; SQL is standard input
  docker exec --interactive \
    --env PGOPTIONS='-c search_path=pg_catalog,pg_temp -c role=none -c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=10s -c client_min_messages=warning' \
    postgres-db \
    psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --username=platform_admin --dbname="$1" \
    --set=mark="$mark" --set=database="$database" --set=login="$login" --set=owner="$owner" --set=read_only="$read_only" \
    --set=read_write="$read_write" --set=connections="$connections" --set=hemmed="$hemmed" --set=extensions="$extensions" --file=-
}

# --- apply ---

foreign() {
  run_sql postgres <<'SQL'
SELECT format('%s %I belongs to "%s"; write another name for it in applications', what, name, mark) FROM (
  SELECT 'role' AS what, rolname AS name, shobj_description(oid, 'pg_authid') AS mark FROM pg_roles
    WHERE rolname IN (:'login', :'owner', :'read_only', :'read_write')
  UNION ALL
  SELECT 'role', rolname, 'a superuser' FROM pg_roles
    WHERE rolsuper AND rolname IN (:'owner', :'read_only', :'read_write')
  UNION ALL
  SELECT 'database', datname, shobj_description(datdba, 'pg_authid') FROM pg_database WHERE datname = :'database') AS found
WHERE mark <> :'mark' AND (mark LIKE 'central-data-platform %' OR mark = 'a superuser') LIMIT 1;
SQL
}

make_roles() {
  run_sql postgres <<'SQL'
BEGIN;
SELECT format('CREATE ROLE %I NOLOGIN', role)
  FROM unnest(ARRAY[:'login', :'owner', :'read_only', :'read_write']) AS role
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec
ALTER ROLE :"login" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT
  CONNECTION LIMIT :connections VALID UNTIL 'infinity';
SELECT format('ALTER ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT CONNECTION LIMIT -1', role)
  FROM unnest(ARRAY[:'owner', :'read_only', :'read_write']) AS role \gexec
SELECT format('COMMENT ON ROLE %I IS %L', role, :'mark')
  FROM unnest(ARRAY[:'login', :'owner', :'read_only', :'read_write']) AS role \gexec
-- Rights beyond its own database are nobody's to give to a login that an application holds.
SELECT format('REVOKE %I FROM %I GRANTED BY %I CASCADE', granted.rolname, member.rolname, pg_get_userbyid(grantor))
  FROM pg_auth_members JOIN pg_roles AS granted ON granted.oid = roleid JOIN pg_roles AS member ON member.oid = pg_auth_members.member
  WHERE member.rolname IN (:'login', :'owner') AND granted.rolname NOT IN (:'owner', 'platform_hemmed') \gexec
SELECT format('GRANT platform_hemmed TO %I WITH INHERIT FALSE, SET FALSE', :'login') WHERE :'hemmed' = 'yes' \gexec
GRANT :"owner" TO :"login" WITH INHERIT TRUE, SET TRUE;
-- From its first statement on it acts as the owner, so what its migrations make belongs to the owner.
ALTER ROLE :"login" SET role = :"owner";
COMMIT;
-- Its weak password is put up with no longer: until password.sh has set another, PgBouncer would hand a connection that came
-- in under the waiver to whoever knows the old one.
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = :'login' AND :'hemmed' = 'no'
  AND EXISTS (SELECT FROM pg_auth_members WHERE pg_get_userbyid(roleid) = 'platform_hemmed' AND pg_get_userbyid(member) = :'login')
\g /dev/null
SQL
}

make_database() {
  run_sql postgres <<'SQL'
SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'owner')
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
BEGIN;
ALTER DATABASE :"database" OWNER TO :"owner";
-- Set for one database, these would come before what is set for the login.
ALTER DATABASE :"database" RESET role;
ALTER ROLE :"login" IN DATABASE :"database" RESET role;
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT ALL ON DATABASE :"database" TO :"owner";
GRANT CONNECT, TEMPORARY ON DATABASE :"database" TO :"login", :"read_write";
GRANT CONNECT ON DATABASE :"database" TO :"read_only";
COMMIT;
SQL
}

# What is there before the platform is: given to the owner, whose the login is from its first statement on, and opened to the
# groups. Only once, which the owner's default privileges tell: later it may have taken a right away on purpose.
grant_rights() {
  run_sql "$database" <<'SQL'
BEGIN;
SELECT NOT EXISTS (SELECT FROM pg_default_acl WHERE pg_get_userbyid(defaclrole) = :'owner' AND defaclnamespace = 0) AS is_new \gset
SELECT format('REASSIGN OWNED BY %I TO %I', :'login', :'owner')
  WHERE EXISTS (SELECT FROM pg_shdepend
    WHERE refclassid = 'pg_authid'::regclass AND refobjid = (SELECT oid FROM pg_roles WHERE rolname = :'login') AND deptype = 'o'
      AND dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))) \gexec
SELECT format(statement, :'owner', :'read_only', :'read_write')
  FROM (VALUES ('REVOKE ALL ON SCHEMA public FROM PUBLIC'), ('GRANT USAGE, CREATE ON SCHEMA public TO %1$I'),
    ('GRANT USAGE ON SCHEMA public TO %2$I, %3$I')) AS wanted (statement)
  WHERE to_regnamespace('public') IS NOT NULL \gexec
SELECT format('CREATE EXTENSION IF NOT EXISTS %I SCHEMA public CASCADE', extension)
  FROM unnest(string_to_array(:'extensions', ' ')) AS extension WHERE extension <> '' \gexec
\if :is_new
CREATE TEMPORARY VIEW own_schema AS SELECT oid, nspname FROM pg_namespace
  WHERE nspname !~ '^pg_' AND nspname <> 'information_schema';
CREATE TEMPORARY VIEW of_extension AS SELECT classid, objid FROM pg_depend WHERE deptype = 'e';
SELECT format('ALTER SCHEMA %I OWNER TO %I', nspname, :'owner') FROM own_schema
  WHERE nspname <> 'public' AND ('pg_namespace'::regclass, oid) NOT IN (SELECT classid, objid FROM of_extension) \gexec
SELECT format('ALTER %s %I.%I OWNER TO %I', kind, nspname, relname, :'owner')
  FROM pg_class JOIN own_schema ON own_schema.oid = relnamespace
    JOIN (VALUES ('r', 'TABLE'), ('p', 'TABLE'), ('f', 'FOREIGN TABLE'), ('v', 'VIEW'), ('m', 'MATERIALIZED VIEW'), ('S', 'SEQUENCE'))
      AS word (letter, kind) ON letter = relkind::text
  WHERE ('pg_class'::regclass, pg_class.oid) NOT IN (SELECT classid, objid FROM of_extension)
    -- A column's own sequence goes with its table.
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND relkind = 'S' AND deptype IN ('a', 'i')) \gexec
SELECT format('ALTER ROUTINE %s OWNER TO %I', pg_proc.oid::regprocedure, :'owner') FROM pg_proc JOIN own_schema ON own_schema.oid = pronamespace
  WHERE ('pg_proc'::regclass, pg_proc.oid) NOT IN (SELECT classid, objid FROM of_extension) \gexec
SELECT format('ALTER TYPE %I.%I OWNER TO %I', nspname, typname, :'owner') FROM pg_type JOIN own_schema ON own_schema.oid = typnamespace
  WHERE typtype IN ('d', 'e', 'r') AND ('pg_type'::regclass, pg_type.oid) NOT IN (SELECT classid, objid FROM of_extension) \gexec
SELECT format(statement, nspname, :'read_only', :'read_write')
  FROM own_schema, (VALUES ('GRANT USAGE ON SCHEMA %1$I TO %2$I, %3$I'), ('GRANT SELECT ON ALL TABLES IN SCHEMA %1$I TO %2$I'),
    ('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %1$I TO %3$I'),
    ('GRANT SELECT ON ALL SEQUENCES IN SCHEMA %1$I TO %2$I'),
    ('GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA %1$I TO %3$I')) AS wanted (statement) \gexec
\endif
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" GRANT USAGE ON SCHEMAS TO :"read_only", :"read_write";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" GRANT SELECT ON TABLES TO :"read_only";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"read_write";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" GRANT SELECT ON SEQUENCES TO :"read_only";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO :"read_write";
COMMIT;
SQL
}

apply() {
  taken=$(foreign)
  [ -z "$taken" ] || fail "application $name cannot be made: $taken"
  make_roles
  make_database
  grant_rights
}

# --- check ---

differing_roles_and_database() {
  run_sql postgres <<'SQL'
WITH wanted (role, login, connections) AS (
  VALUES (:'login', true, :connections), (:'owner', false, -1), (:'read_only', false, -1), (:'read_write', false, -1)),
found AS (SELECT * FROM wanted LEFT JOIN pg_roles ON rolname = role),
database AS (SELECT * FROM (SELECT :'database' AS name) AS wanted LEFT JOIN pg_database ON datname = name)
SELECT format('role %I is missing', role) FROM found WHERE oid IS NULL
UNION ALL
SELECT format('role %I may %slog in', role, CASE WHEN login THEN 'not ' ELSE '' END) FROM found WHERE rolcanlogin <> login
UNION ALL
SELECT format('role %I has %s', role, attribute) FROM found CROSS JOIN LATERAL
  (VALUES ('SUPERUSER', rolsuper), ('CREATEDB', rolcreatedb), ('CREATEROLE', rolcreaterole), ('REPLICATION', rolreplication),
    ('BYPASSRLS', rolbypassrls), ('NOINHERIT', NOT rolinherit), ('an end date', rolvaliduntil <> 'infinity')) AS has (attribute, it)
  WHERE it
UNION ALL
SELECT format('role %I has the connection limit %s, not %s', role, rolconnlimit, connections) FROM found WHERE rolconnlimit <> connections
UNION ALL
SELECT format('role %I has not the comment by which the platform knows it', role) FROM found
  WHERE oid IS NOT NULL AND shobj_description(oid, 'pg_authid') IS DISTINCT FROM :'mark'
UNION ALL
SELECT format('role %I does not act as %I', :'login', :'owner') FROM found
  WHERE role = :'login' AND oid IS NOT NULL AND NOT coalesce(rolconfig, '{}') @> ARRAY['role=' || quote_ident(:'owner')]
    AND NOT coalesce(rolconfig, '{}') @> ARRAY['role=' || :'owner']
UNION ALL
SELECT format('role %I is no member of %I', :'login', :'owner')
  WHERE NOT EXISTS (SELECT FROM pg_auth_members JOIN pg_roles AS granted ON granted.oid = roleid
    JOIN pg_roles AS member ON member.oid = pg_auth_members.member
    WHERE granted.rolname = :'owner' AND member.rolname = :'login' AND inherit_option AND set_option)
UNION ALL
SELECT format('role %I is a member of %I', member.rolname, granted.rolname)
  FROM pg_auth_members JOIN pg_roles AS granted ON granted.oid = roleid JOIN pg_roles AS member ON member.oid = pg_auth_members.member
  WHERE member.rolname IN (:'login', :'owner') AND granted.rolname NOT IN (:'owner', 'platform_hemmed')
UNION ALL
SELECT format('role %I is not hemmed in although its weak password is put up with', :'login')
  WHERE :'hemmed' = 'yes' AND NOT EXISTS (SELECT FROM pg_auth_members WHERE pg_get_userbyid(roleid) = 'platform_hemmed'
    AND pg_get_userbyid(member) = :'login')
UNION ALL
SELECT format('role %I is set to act as another one in database %I', :'login', :'database')
  FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase, unnest(setconfig) AS setting
  WHERE datname = :'database' AND setting LIKE 'role=%' AND (setrole = 0 OR pg_get_userbyid(setrole) = :'login')
UNION ALL
SELECT format('database %I is missing', name) FROM database WHERE oid IS NULL
UNION ALL
SELECT format('database %I is owned by %I, not by %I', name, pg_get_userbyid(datdba), :'owner') FROM database
  WHERE pg_get_userbyid(datdba) <> :'owner'
UNION ALL
SELECT format('everybody has %s on database %I', privilege_type, name)
  FROM database, aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE grantee = 0
UNION ALL
SELECT format('role %I has no %s on database %I', granted.role, privilege, name)
  FROM database, (VALUES (:'login', 'CONNECT'), (:'login', 'TEMPORARY'), (:'read_write', 'CONNECT'), (:'read_write', 'TEMPORARY'),
    (:'read_only', 'CONNECT')) AS granted (role, privilege) JOIN pg_roles ON rolname = granted.role
  WHERE database.oid IS NOT NULL
    AND NOT EXISTS (SELECT FROM aclexplode(datacl) WHERE grantee = pg_roles.oid AND privilege_type = privilege);
SQL
}

has_database() {
  [ "$(echo "SELECT EXISTS (SELECT FROM pg_database WHERE datname = :'database');" | run_sql postgres)" = t ]
}

differing_rights() {
  run_sql "$database" <<'SQL'
SELECT format('everybody has %s on schema public of database %I', privilege_type, :'database')
  FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) WHERE nspname = 'public' AND grantee = 0
UNION ALL
SELECT format('role %I has no USAGE on schema public of database %I', rolname, :'database') FROM pg_namespace, pg_roles
  WHERE nspname = 'public' AND rolname IN (:'read_only', :'read_write')
    AND NOT EXISTS (SELECT FROM aclexplode(nspacl) WHERE grantee = pg_roles.oid AND privilege_type = 'USAGE')
UNION ALL
SELECT format('role %I is not given %s on new %s of database %I', role, privilege, what, :'database')
  FROM (VALUES (:'read_only', 'n', 'schemas', 'USAGE'), (:'read_write', 'n', 'schemas', 'USAGE'),
    (:'read_only', 'r', 'tables', 'SELECT'), (:'read_write', 'r', 'tables', 'SELECT'), (:'read_write', 'r', 'tables', 'INSERT'),
    (:'read_write', 'r', 'tables', 'UPDATE'), (:'read_write', 'r', 'tables', 'DELETE'),
    (:'read_only', 'S', 'sequences', 'SELECT'), (:'read_write', 'S', 'sequences', 'SELECT'),
    (:'read_write', 'S', 'sequences', 'USAGE'), (:'read_write', 'S', 'sequences', 'UPDATE')) AS wanted (role, kind, what, privilege)
  WHERE NOT EXISTS (SELECT FROM pg_default_acl, aclexplode(defaclacl)
    WHERE pg_get_userbyid(defaclrole) = :'owner' AND defaclnamespace = 0 AND defaclobjtype::text = kind
      AND pg_get_userbyid(grantee) = role AND privilege_type = privilege)
UNION ALL
SELECT format('extension %I is missing in database %I', extension, :'database')
  FROM unnest(string_to_array(:'extensions', ' ')) AS extension
  WHERE extension <> '' AND NOT EXISTS (SELECT FROM pg_extension WHERE extname = extension)
UNION ALL
SELECT format('%s objects in database %I are owned by %I, not by %I', count(*), :'database', :'login', :'owner') FROM pg_shdepend
  WHERE refclassid = 'pg_authid'::regclass AND refobjid = (SELECT oid FROM pg_roles WHERE rolname = :'login') AND deptype = 'o'
    AND dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  HAVING count(*) > 0;
SQL
}

check() {
  # A platform that is down differs, and does not hold up the refresh that finds it.
  if ! differing_roles_and_database 2>/dev/null; then
    echo "postgres-db does not answer"
  elif has_database; then
    differing_rights
  fi
}

case $action in
  apply) apply ;;
  check) check ;;
  *) fail "usage: application.sh apply|check NAME DATABASE LOGIN OWNER READ_ONLY READ_WRITE CONNECTIONS yes|no [EXTENSION...]" ;;
esac
