-- What each caller is told.

return reply
