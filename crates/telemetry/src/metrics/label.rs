use std::borrow::Cow;
use std::fmt;
use std::hash::Hash;

/// A value of a metric's label. Implement it through [`label!`](crate::label); open texts
/// (`Cow<'static, str>`) are for what a table elsewhere bounds, such as route templates, never for what
/// a client may choose.
pub trait LabelValue: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static {
    /// How many values there are; `None` for an open set.
    const VALUES: Option<usize>;

    /// The value as exposed.
    fn text(&self) -> Cow<'static, str>;
}

impl LabelValue for Cow<'static, str> {
    const VALUES: Option<usize> = None;

    fn text(&self) -> Cow<'static, str> {
        self.clone()
    }
}

impl LabelValue for u16 {
    const VALUES: Option<usize> = None;

    fn text(&self) -> Cow<'static, str> {
        Cow::Owned(self.to_string())
    }
}

impl LabelValue for bool {
    const VALUES: Option<usize> = Some(2);

    fn text(&self) -> Cow<'static, str> {
        Cow::Borrowed(if *self { "true" } else { "false" })
    }
}

/// The label values of one series: nothing, one value, or a tuple of up to five.
pub trait Labels: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static {
    /// How many series there can be; `None` if a label is open.
    const SERIES: Option<usize>;

    /// The values as exposed, in the order of declaration.
    fn texts(&self) -> Vec<Cow<'static, str>>;

    /// The one value of a metric without labels, whose series exists from the start.
    #[must_use]
    fn sole() -> Option<Self> {
        None
    }
}

const fn product(left: Option<usize>, right: Option<usize>) -> Option<usize> {
    match (left, right) {
        (Some(left), Some(right)) => left.checked_mul(right),
        _ => None,
    }
}

impl Labels for () {
    const SERIES: Option<usize> = Some(1);

    fn texts(&self) -> Vec<Cow<'static, str>> {
        Vec::new()
    }

    fn sole() -> Option<Self> {
        Some(())
    }
}

impl<T: LabelValue> Labels for T {
    const SERIES: Option<usize> = T::VALUES;

    fn texts(&self) -> Vec<Cow<'static, str>> {
        vec![self.text()]
    }
}

macro_rules! tuples {
    ($(($($type:ident $field:tt),+))*) => {$(
        impl<$($type: LabelValue),+> Labels for ($($type,)+) {
            const SERIES: Option<usize> = {
                let series = Some(1);
                $(let series = product(series, $type::VALUES);)+
                series
            };

            fn texts(&self) -> Vec<Cow<'static, str>> {
                vec![$(self.$field.text()),+]
            }
        }
    )*};
}

tuples! {
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
}

/// Declares an enum whose variants are the values of a label.
///
/// ```
/// telemetry::label! {
///     /// How an attempt ended.
///     pub enum Outcome {
///         /// It did what was asked.
///         Ok => "ok",
///         Refused => "refused",
///     }
/// }
/// assert_eq!(Outcome::ALL.len(), 2);
/// assert_eq!(Outcome::Refused.as_str(), "refused");
/// ```
#[macro_export]
macro_rules! label {
    (
        $(#[$outer:meta])*
        $vis:vis enum $name:ident {
            $($(#[$inner:meta])* $variant:ident => $text:literal),+ $(,)?
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis enum $name {
            $(
                $(#[$inner])*
                #[doc = concat!("Exposed as `", $text, "`.")]
                $variant,
            )+
        }

        impl $name {
            /// All values, in order of declaration.
            $vis const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value as exposed.
            #[must_use]
            $vis const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl $crate::LabelValue for $name {
            const VALUES: ::core::option::Option<usize> =
                ::core::option::Option::Some(Self::ALL.len());

            fn text(&self) -> ::std::borrow::Cow<'static, str> {
                ::std::borrow::Cow::Borrowed(self.as_str())
            }
        }
    };
}
