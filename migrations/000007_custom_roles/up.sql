-- Roles of organizations: those that people write, and a copy of those that memberships imply.

CREATE TABLE custom_roles (
    id                 uuid        PRIMARY KEY,
    organization_id    uuid        NOT NULL,
    name               text        NOT NULL,
    display_name       text        NOT NULL DEFAULT '',
    org_permissions    jsonb       NOT NULL DEFAULT '[]',
    member_permissions jsonb       NOT NULL DEFAULT '[]',
    is_system          boolean     NOT NULL DEFAULT false,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    CONSTRAINT custom_roles_organization_fk      FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE,
    CONSTRAINT custom_roles_name_shape           CHECK (name ~ '^[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*$' AND length(name) <= 64),
    CONSTRAINT custom_roles_display_name_length  CHECK (length(display_name) <= 64),
    CONSTRAINT custom_roles_permissions_lists    CHECK (jsonb_typeof(org_permissions) = 'array' AND jsonb_typeof(member_permissions) = 'array'),
    -- What people write allows, throughout the organization; it neither forbids nor speaks of the holder's own.
    CONSTRAINT custom_roles_written_are_plain    CHECK (
        is_system OR (member_permissions = '[]' AND NOT org_permissions @> '[{"negate": true}]')
    )
);
CREATE UNIQUE INDEX custom_roles_name_lower_key ON custom_roles (organization_id, lower(name));
COMMENT ON TABLE custom_roles IS 'Roles by organization. The permissions of system roles are written by the program, which computes them from the sharing mode.';

-- Counts changes of the organization's roles. Who keeps roles in memory compares it, and never uses old ones.
ALTER TABLE organizations ADD COLUMN roles_revision bigint NOT NULL DEFAULT 0;

CREATE FUNCTION count_change_of_roles() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        UPDATE organizations SET roles_revision = roles_revision + 1 WHERE id = OLD.organization_id;
    END IF;
    IF TG_OP = 'INSERT' OR (TG_OP = 'UPDATE' AND NEW.organization_id <> OLD.organization_id) THEN
        UPDATE organizations SET roles_revision = roles_revision + 1 WHERE id = NEW.organization_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER count_change_of_roles AFTER INSERT OR UPDATE OR DELETE ON custom_roles
    FOR EACH ROW EXECUTE FUNCTION count_change_of_roles();

-- Nobody holds a role that does not exist: one of the same name made later would not be meant.
CREATE FUNCTION take_deleted_role_away() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE organization_members SET roles = array_remove(roles, OLD.name)
     WHERE organization_id = OLD.organization_id AND OLD.name = ANY (roles);
    UPDATE organizations SET default_org_member_roles = array_remove(default_org_member_roles, OLD.name)
     WHERE id = OLD.organization_id AND OLD.name = ANY (default_org_member_roles);
    RETURN NULL;
END $$;
CREATE TRIGGER take_deleted_role_away AFTER DELETE ON custom_roles
    FOR EACH ROW EXECUTE FUNCTION take_deleted_role_away();

CREATE FUNCTION insert_system_roles() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO custom_roles (id, organization_id, name, is_system, created_at, updated_at)
    SELECT gen_random_uuid(), NEW.id, implied.name, true, NEW.created_at, NEW.created_at
      FROM (VALUES ('organization-member'), ('organization-service-account')) AS implied (name);
    RETURN NULL;
END $$;
CREATE TRIGGER insert_system_roles AFTER INSERT ON organizations
    FOR EACH ROW EXECUTE FUNCTION insert_system_roles();

INSERT INTO custom_roles (id, organization_id, name, is_system, created_at, updated_at)
SELECT gen_random_uuid(), o.id, implied.name, true, o.created_at, o.created_at
  FROM organizations o, (VALUES ('organization-member'), ('organization-service-account')) AS implied (name);

-- Two owners who take the role from each other at the same instant would leave a deployment that nobody can
-- administrate: changes that take it wait for each other.
CREATE FUNCTION refuse_loss_of_last_owner() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(17);
    IF NOT EXISTS (
        SELECT 1 FROM users
         WHERE 'owner' = ANY (rbac_roles) AND NOT deleted AND status <> 'suspended' AND id <> OLD.id
    ) THEN
        RAISE EXCEPTION 'the last owner of the deployment must stay one'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'users_last_owner';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_loss_of_last_owner BEFORE UPDATE OF rbac_roles ON users
    FOR EACH ROW WHEN ('owner' = ANY (OLD.rbac_roles) AND NOT 'owner' = ANY (NEW.rbac_roles) AND NOT OLD.deleted)
    EXECUTE FUNCTION refuse_loss_of_last_owner();
