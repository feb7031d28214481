//! What tenants have used of their allowances: an account for each that has one. A pure core that takes the time as an
//! argument.
//!
//! Clients choose tenant ids, so there are at most 1,024 accounts; the one not used for longest makes way. An account that
//! is full by then knows nothing that a new one would not. One that isn't is left to the newcomer: whoever keeps changing
//! ids gets no more than so many tenants are due, and is not given a full account for each new name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::cpu_account::CpuAccount;
use super::token_bucket::{Rate, TokenBucket};
use crate::frame::Allowance;
use crate::wasi::cpu_meter::thread_cpu;

/// Tenants that are remembered.
const TENANTS: usize = 1024;

/// Where the CPU time of a call is charged when it has ended.
pub type Charged = Arc<Mutex<CpuAccount>>;

/// A call whose CPU time is counted, from its beginning on this thread until it is dropped.
pub struct Charge {
    account: Charged,
    began: Duration,
}

impl Charge {
    /// From now on.
    pub fn begin(account: Charged) -> Self {
        Self { account, began: thread_cpu() }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.lock().charge(thread_cpu().saturating_sub(self.began));
    }
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct TenantAccounts {
    accounts: HashMap<Arc<str>, Account>,
    /// Counts the calls, so that it is known who was here last.
    calls: u64,
}

#[derive(Debug, Default)]
struct Account {
    calls: Option<TokenBucket>,
    cpu: Option<Charged>,
    last: u64,
}

/// What of its allowance a tenant has used up, and how long until there is some again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsedUp {
    /// Its calls a second.
    Calls(Duration),
    /// Its CPU time a minute.
    Cpu(Duration),
}

impl TenantAccounts {
    /// Takes one of the calls that `tenant` may make, and says where its CPU time is to be charged, if it is counted.
    ///
    /// # Errors
    /// What is used up; then nothing was taken.
    pub fn take(&mut self, now: Instant, tenant: &Arc<str>, allowance: &Allowance) -> Result<Option<Charged>, UsedUp> {
        let account = self.account(tenant);
        let cpu = allowance.cpu_per_minute.map(|per_minute| account.cpu_at(now, per_minute));
        if let Some(cpu) = &cpu {
            cpu.lock().admit(now).map_err(UsedUp::Cpu)?;
        }
        if let Some(calls_per_s) = allowance.calls_per_s {
            account.calls_at(now, Rate::per_second(calls_per_s)).take(now).map_err(UsedUp::Calls)?;
        }
        Ok(cpu)
    }

    /// Puts a call back that was then not made.
    pub fn give_back(&mut self, tenant: &str) {
        if let Some(calls) = self.accounts.get_mut(tenant).and_then(|account| account.calls.as_mut()) {
            calls.give_back();
        }
    }

    fn account(&mut self, tenant: &Arc<str>) -> &mut Account {
        self.calls += 1;
        if !self.accounts.contains_key(tenant) {
            let account = self.make_way().unwrap_or_default();
            self.accounts.insert(Arc::clone(tenant), account);
        }
        let account = self.accounts.get_mut(tenant).expect("it is there or was put there");
        account.last = self.calls;
        account
    }

    /// The account of whoever has been away for longest, if there is no room for another.
    fn make_way(&mut self) -> Option<Account> {
        if self.accounts.len() < TENANTS {
            return None;
        }
        let oldest =
            self.accounts.iter().min_by_key(|(_, account)| account.last).map(|(tenant, _)| Arc::clone(tenant))?;
        self.accounts.remove(&oldest)
    }
}

// An allowance may differ from call to call; what came in until now came in at the old one.
impl Account {
    /// One second's worth at once.
    fn calls_at(&mut self, now: Instant, rate: Rate) -> &mut TokenBucket {
        let burst = rate.one_second();
        let calls = self.calls.get_or_insert_with(|| TokenBucket::new(now, rate, burst));
        calls.reshape(now, rate, burst);
        calls
    }

    fn cpu_at(&mut self, now: Instant, per_minute: Duration) -> Charged {
        let cpu = self.cpu.get_or_insert_with(|| Arc::new(Mutex::new(CpuAccount::new(now, per_minute))));
        cpu.lock().reshape(now, per_minute);
        Arc::clone(cpu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(number: usize) -> Arc<str> {
        format!("tenant {number}").into()
    }

    fn calls(per_second: f64) -> Allowance {
        Allowance { calls_per_s: Some(per_second), cpu_per_minute: None }
    }

    fn cpu(ms: u64) -> Allowance {
        Allowance { calls_per_s: None, cpu_per_minute: Some(Duration::from_millis(ms)) }
    }

    fn lets_in(
        accounts: &mut TenantAccounts,
        now: Instant,
        tenant: &Arc<str>,
        allowance: &Allowance,
    ) -> Result<(), UsedUp> {
        accounts.take(now, tenant, allowance).map(drop)
    }

    #[test]
    fn tenants_have_rates_of_their_own() {
        let (mut accounts, now, rate) = (TenantAccounts::default(), Instant::now(), calls(2.0));
        let (a, b) = (tenant(0), tenant(1));
        assert_eq!((lets_in(&mut accounts, now, &a, &rate), lets_in(&mut accounts, now, &a, &rate)), (Ok(()), Ok(())));
        assert_eq!(lets_in(&mut accounts, now, &a, &rate), Err(UsedUp::Calls(Duration::from_millis(500))));
        assert_eq!(lets_in(&mut accounts, now, &b, &rate), Ok(()));
        accounts.give_back(&a);
        assert_eq!(lets_in(&mut accounts, now, &a, &rate), Ok(()));
    }

    #[test]
    fn another_rate_is_another_bucket_and_not_a_full_one() {
        let (mut accounts, now, a) = (TenantAccounts::default(), Instant::now(), tenant(0));
        lets_in(&mut accounts, now, &a, &calls(1.0)).unwrap();
        assert!(lets_in(&mut accounts, now, &a, &calls(1000.0)).is_err());
        let later = now + Duration::from_millis(1);
        assert_eq!(lets_in(&mut accounts, later, &a, &calls(1000.0)), Ok(()), "at the new rate from then on");
    }

    #[test]
    fn whoever_changes_names_gets_no_full_bucket_with_each() {
        let (mut accounts, now, rate) = (TenantAccounts::default(), Instant::now(), calls(1.0));
        let let_in =
            (0..10 * TENANTS).filter(|number| lets_in(&mut accounts, now, &tenant(*number), &rate).is_ok()).count();
        assert_eq!(let_in, TENANTS);
        assert_eq!(accounts.accounts.len(), TENANTS);
    }

    #[test]
    fn whoever_changes_names_inherits_the_debts_of_others() {
        let (mut accounts, now, allowance) = (TenantAccounts::default(), Instant::now(), cpu(10));
        for number in 0..TENANTS {
            let charged = accounts.take(now, &tenant(number), &allowance).unwrap().unwrap();
            charged.lock().charge(Duration::from_millis(20));
        }
        assert!(matches!(accounts.take(now, &tenant(TENANTS), &allowance), Err(UsedUp::Cpu(_))));
    }

    #[test]
    fn a_newcomer_after_a_quiet_time_finds_a_full_bucket() {
        let (mut accounts, now, rate) = (TenantAccounts::default(), Instant::now(), calls(3.0));
        for number in 0..TENANTS {
            lets_in(&mut accounts, now, &tenant(number), &rate).unwrap();
        }
        let (later, newcomer) = (now + Duration::from_secs(1), tenant(TENANTS));
        for _ in 0..3 {
            assert_eq!(lets_in(&mut accounts, later, &newcomer, &rate), Ok(()));
        }
        assert!(lets_in(&mut accounts, later, &newcomer, &rate).is_err());
    }

    #[test]
    fn cpu_time_is_charged_to_its_tenant_alone_and_takes_no_call_from_who_is_refused() {
        let (mut accounts, now, a) = (TenantAccounts::default(), Instant::now(), tenant(0));
        let both = cpu(60_000);
        let both = Allowance { calls_per_s: Some(1.0), ..both };
        let charged = accounts.take(now, &a, &cpu(60_000)).unwrap().unwrap();
        charged.lock().charge(Duration::from_millis(60_100));
        assert!(matches!(accounts.take(now, &a, &both), Err(UsedUp::Cpu(_))));
        assert_eq!(lets_in(&mut accounts, now, &tenant(1), &both), Ok(()));
        let later = now + Duration::from_millis(101);
        assert_eq!(lets_in(&mut accounts, later, &a, &both), Ok(()), "its one call of this second is still there");
    }
}
