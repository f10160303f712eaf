create table vouchers (code text primary key, uses_left int not null);
create table redemptions (
    id bigint generated always as identity primary key,
    code text not null references vouchers,
    customer text not null,
    at timestamptz not null default now()
);
