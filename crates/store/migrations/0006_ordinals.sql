-- The lowest number that no other sandbox of the dialect had when it was made, for dialects that show some.
ALTER TABLE sandboxes ADD COLUMN ordinal INTEGER;
