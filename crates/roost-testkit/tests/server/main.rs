//! What a server does for ordinary clients, on each driver.

mod access;
mod calls;
mod centrifugo;
mod channels;
mod drain;
mod echo;
mod ends;
mod extras;
mod failing;
mod fragments;
mod framings;
mod http;
mod limits;
mod listeners;
mod logins;
mod patterns;
mod proxy;
mod second_opinion;
mod serializers;
mod slow;
mod soap;
mod splits;
mod takeover;
mod tls;
mod toy;
mod wamp;
