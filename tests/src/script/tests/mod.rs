mod packets;
mod parsing;
mod running;
