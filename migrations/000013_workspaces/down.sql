CREATE OR REPLACE FUNCTION protect_deleting_organizations() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    group_count  bigint := (SELECT count(*) FROM groups WHERE organization_id = OLD.id AND id <> OLD.id);
    member_count bigint := (
        SELECT count(*) FROM organization_members m JOIN users u ON u.id = m.user_id AND NOT u.deleted
         WHERE m.organization_id = OLD.id);
BEGIN
    IF group_count > 0 THEN
        RAISE EXCEPTION 'cannot delete organization: organization has % groups that must be deleted first', group_count
            USING ERRCODE = 'check_violation', CONSTRAINT = 'organizations_has_groups';
    END IF;
    IF member_count > 1 THEN
        RAISE EXCEPTION 'cannot delete organization: organization has % members that must be deleted first', member_count - 1
            USING ERRCODE = 'check_violation', CONSTRAINT = 'organizations_has_members';
    END IF;
    RETURN NEW;
END $$;
DROP VIEW tasks_with_status;
DROP VIEW workspace_latest_builds;
DROP VIEW workspace_build_with_user;
DROP VIEW workspaces_expanded;
DROP TABLE boundary_usage_stats;
DROP TABLE tasks;
DROP TABLE workspace_agent_metadata;
DROP TABLE workspace_agents;
DROP FUNCTION refuse_second_agent_of_name();
DROP TABLE workspace_resources;
DROP TABLE workspace_builds;
DROP TABLE workspaces;
DROP TABLE template_versions;
DROP TABLE templates;
DROP TABLE provisioner_jobs;
