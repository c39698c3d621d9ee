-- The migrator acts as the owner: jobplane migrate does SET ROLE by itself.
GRANT {owner} TO {migrator};
