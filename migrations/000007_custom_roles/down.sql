DROP TRIGGER refuse_loss_of_last_owner ON users;
DROP FUNCTION refuse_loss_of_last_owner();
DROP TRIGGER insert_system_roles ON organizations;
DROP FUNCTION insert_system_roles();
DROP TABLE custom_roles;
DROP FUNCTION take_deleted_role_away();
DROP FUNCTION count_change_of_roles();
ALTER TABLE organizations DROP COLUMN roles_revision;
