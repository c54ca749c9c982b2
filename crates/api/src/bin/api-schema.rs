//! Prints the `OpenAPI` document of API v2.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", serde_json::to_string_pretty(&api::openapi())?);
    Ok(())
}
