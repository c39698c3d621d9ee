-- The jobs that schedules made stay; nothing makes further ones.
DROP TABLE IF EXISTS {schema}.schedule_ticks;
DROP TABLE IF EXISTS {schema}.schedules;
