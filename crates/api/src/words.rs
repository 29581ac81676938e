//! Enums that a client writes as a word of a closed set. A word that is not in the set is answered with the
//! whole set. It must not know which words there are: each dialect declares its own.

/// Declares an enum read from a JSON string, with its words in the OpenAPI document.
///
/// `words! { /// Doc. Name is "colour" { /// Doc. Red = "red", /// Doc. Blue = "blue" } }`
macro_rules! words {
    ($(#[$doc:meta])* $name:ident is $noun:literal {
        $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ::serde::Deserialize, ::utoipa::ToSchema)]
        #[serde(try_from = "String")]
        pub(crate) enum $name {
            $($(#[$variant_doc])* #[schema(rename = $word)] $variant,)+
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                match text.as_str() {
                    $($word => Ok(Self::$variant),)+
                    _ => {
                        let known = [$($word),+].join(", ");
                        Err(format!("unknown {} {text:?}; known are {known}", $noun))
                    }
                }
            }
        }
    };
}

pub(crate) use words;
